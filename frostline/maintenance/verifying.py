"""Caches and the pool as a whole: are they what their manifests, digests and the base say?"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from frostline import contract as contracts
from frostline import digests, files
from frostline.caching.pool import LATENTS, Pool
from frostline.caching.publishing import SOURCES
from frostline.contract import LatentSpace
from frostline.errors import WrongUse
from frostline.maintenance import agreement, caches, fetching, findings, parts
from frostline.maintenance.caches import Cache, ListedPart
from frostline.maintenance.contents import Contents
from frostline.maintenance.findings import AGAIN, Finding
from frostline.maintenance.parts import UNREADABLE, Opened, said
from frostline.store.layout import CAPTIONS, ITEMS, MANIFEST, TEXT
from frostline.store.locations import STORE

AT_ONCE = 4  # parts whose rows are read
FAR_AT_ONCE = 32  # parts in a store that are opened
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What caches are compared with, as far as it is at hand."""

    sources: Sequence[str]  # all that params.yaml names
    base: LatentSpace | None
    index: dict[str, Any] | None  # data/latents.json


@dataclass(kw_only=True)
class Looked:
    """What was looked at, and what was found."""

    expected: Expected
    found: list[Finding] = field(default_factory=list)
    caches: list[Cache] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Is there nothing but notes?"""
        return not findings.wrong(self.found)

    def wrong_in(self, folder: Path) -> bool:
        """Is something wrong below a folder?"""
        return findings.wrong(finding for finding in self.found if finding.path.is_relative_to(folder))


def space(expected: Expected, latents: Path) -> LatentSpace:
    """The latent space of the base, or without it that of a cache; raises WrongUse if neither is there."""
    if expected.base:
        return expected.base
    for name in expected.sources:
        with contextlib.suppress(WrongUse):
            return caches.read(name, latents / name).space
    raise WrongUse(f"{latents}: no base and no manifest of a cache is here; set `base` in params.yaml to a base folder")


def look(
    names: Sequence[str], latents: Path, pool: Pool, expected: Expected, contents: Contents | None, *, idle: bool
) -> Looked:
    """Look at the caches of some sources below a folder, and at the pool: at all of it if no source is named.

    With ``contents`` every row is read and compared; else parts are opened. ``idle``: no other process writes.
    """
    looked = Looked(expected=expected)
    for name in names or expected.sources:
        cache, found = of_source(name, latents / name, expected, contents)
        looked.found += found
        looked.caches += [cache] if cache else []
    if not names:
        looked.found += _unknown(latents, expected.sources, idle=idle)
    wanted = {part.name for cache in looked.caches for part in cache.listing.parts} if names else None
    looked.found += of_pool(pool, wanted, contents, idle=idle)
    return looked


def of_source(
    source: str, folder: Path, expected: Expected, contents: Contents | None
) -> tuple[Cache | None, list[Finding]]:
    """Look at the cache of one source; there is no Cache if its manifest cannot be read."""
    if not folder.is_dir():
        return None, [findings.differs(folder, "no cache of this source", "make it with `dvc repro`")]
    try:
        cache = caches.read(source, folder)
    except UNREADABLE as error:
        return None, [findings.damaged(folder / MANIFEST, said(error, folder / MANIFEST))]
    looked = _opened(cache)
    found = [*_strays(cache), *(one for one in looked.values() if isinstance(one, Finding))]
    if contents and cache.address:
        present = [part for part in looked if part.name in cache.objects]
        found += _in_parallel(lambda part: _far_rows(cache, part), present)
    elif contents:
        present = [part for part in looked if cache.path(part).is_file()]
        found += _in_parallel(lambda part: _rows(cache, part, contents), present)
    if not found:
        found += agreement.look(cache, {part.name: one for part, one in looked.items() if isinstance(one, Opened)})
    return cache, [*found, *_against(cache, expected)]


def _opened(cache: Cache) -> dict[ListedPart, Opened | Finding]:
    if cache.address is None:
        return {part: parts.look(part, cache.path(part), cache.space) for part in cache.listing.parts}
    cache.objects  # noqa: B018 - listed once, and not by each thread
    with ThreadPoolExecutor(FAR_AT_ONCE) as threads:
        found = threads.map(lambda part: parts.look_far(part, cache), cache.listing.parts)
        return dict(zip(cache.listing.parts, found, strict=True))


def _strays(cache: Cache) -> list[Finding]:
    here = [cache.folder / STORE] if cache.address else [cache.path(part) for part in cache.listing.parts]
    listed = {*here, cache.folder / MANIFEST}
    present = (path for path in sorted(cache.folder.rglob("*")) if not path.is_dir())
    return [findings.damaged(path, "a file that the manifest does not list") for path in present if path not in listed]


def _against(cache: Cache, expected: Expected) -> list[Finding]:
    """Compare a cache with the base and the index."""
    found = []
    if expected.base and (apart := contracts.differences(expected.base, cache.space)):
        fields = ", ".join(one.field for one in apart)
        found.append(findings.differs(cache.folder, f"of another latent space than the base: {fields} differ", AGAIN))
    if expected.index is not None:
        listed = expected.index["sources"].get(cache.source)
        if listed is None or listed["manifest"] != digests.of_file(cache.folder / MANIFEST):
            what = "not the manifest that was indexed"
            found.append(findings.differs(cache.folder / MANIFEST, what, "run `dvc repro index`"))
    return found


def _rows(cache: Cache, part: ListedPart, contents: Contents) -> list[Finding]:
    """Look at every row of a part."""
    known = {one.name: one.digest for one in cache.listing.parts}
    return _contents(cache.path(part), part.name, known, contents)


def _far_rows(cache: Cache, part: ListedPart) -> list[Finding]:
    """Look at every row of a part in a store, which comes here as a whole for that, a text with its captions."""
    names = dict.fromkeys((part.name.replace(TEXT, CAPTIONS, 1), part.name))
    with fetching.fetched(cache, [name for name in names if name in cache.objects]) as folder:
        known = {one.name: one.digest for one in cache.listing.parts}
        found = _contents(folder / part.name, part.name, known, Contents())
    return [dataclasses.replace(one, path=cache.path(part)) for one in found]


def _contents(path: Path, name: str, known: Mapping[str, str | None], contents: Contents) -> list[Finding]:
    """Compare a part with its digest, and its rows with theirs, which those of a text have in its captions.

    ``known`` digests of parts by name.
    """
    found = _digested(path, known[name], contents)
    if parts.kind(path) in (ITEMS, LATENTS):
        problems = contents.problems(path)
    elif parts.kind(path) == TEXT and (captions := _captions_of(path)).is_file():
        sound = not _digested(captions, known.get(name.replace(TEXT, CAPTIONS, 1)), contents)
        problems = contents.problems(path, captions) if sound else []
    else:
        problems = []
    return found + [findings.damaged(path, one.what, one.row, one.row_is) for one in problems]


def _digested(path: Path, known: str | None, contents: Contents) -> list[Finding]:
    if known is None or (digest := contents.digest(path)) == known:
        return []
    return [findings.damaged(path, f"its digest is {digest}, written was {known}")]


def _unknown(latents: Path, sources: Sequence[str], *, idle: bool) -> list[Finding]:
    """Folders below ``data/latents`` that are no source's."""
    found = []
    for path in sorted(latents.iterdir()) if latents.is_dir() else ():
        if not path.is_dir() or path.name in sources:
            continue
        if path.name.startswith("."):
            found += [findings.damaged(path, "left by a killed writer")] if idle else []
        else:
            remedy = "remove the folder or add the source"
            found.append(findings.differs(path, "a cache of no source in params.yaml", remedy))
    return found


# --------------------------------------------------------------------------------------------------------- the pool


def of_pool(pool: Pool, wanted: set[str] | None, contents: Contents | None, *, idle: bool) -> list[Finding]:
    """Look at the files of the pool, or at those of ``wanted`` names."""
    every = [path for path in sorted(pool.folder.rglob("*")) if path.is_file()]
    whole = [path for path in every if path.suffix == ".parquet" and not path.name.startswith(".")]
    found: list[Finding] = []
    if wanted is None:
        found += [one for path in every if path.parent.name == SOURCES for one in _source(path)]
    if wanted is None and idle:
        left = [path for path in every if path.name.startswith(".")]
        left += [path for path in whole if parts.kind(path) == TEXT and not _captions_of(path).is_file()]
        found += [findings.damaged(path, "left by a killed writer") for path in left]
        whole = [path for path in whole if path not in left]
    named = [(path.relative_to(pool.folder).as_posix(), path) for path in whole]
    looked_at = [(name, path) for name, path in named if wanted is None or name in wanted]
    return found + _in_parallel(lambda one: _pooled(*one, pool, contents), looked_at)


def _pooled(name: str, path: Path, pool: Pool, contents: Contents | None) -> list[Finding]:
    """Look at one file of the pool."""
    try:
        recorded = pool.recorded(name)
        if recorded and recorded.size != (size := path.stat().st_size):
            return [findings.damaged(path, f"has {size} bytes where {recorded.size} were written")]
        parts.require_whole(path)
    except UNREADABLE as error:
        return [findings.damaged(path, said(error, path))]
    if contents is None:
        return []
    names = (name, name.replace(TEXT, CAPTIONS, 1))
    known = {one: entry.digest for one in names if (entry := pool.recorded(one))}
    return _contents(path, name, {name: None, **known}, contents)


def _source(path: Path) -> list[Finding]:
    """Look at what the pool keeps in mind of a source."""
    try:
        list(files.read_json(path)["parts"])
    except UNREADABLE as error:
        return [findings.damaged(path, said(error, path))]
    return []


def _captions_of(text: Path) -> Path:
    return text.parent.with_name(CAPTIONS) / text.name


def _in_parallel(call: Callable[[T], list[Finding]], values: Sequence[T]) -> list[Finding]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [finding for found in threads.map(call, values) for finding in found]
