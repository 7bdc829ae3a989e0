"""What no source of params.yaml uses any more goes from the pool: nothing else does.

A source uses the parts it was last published with and those its cache lists, and whatever holds a latent or text that
its manifest asks for and none of these parts has: what a killed run encoded, and what a source of another name had.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from frostline import manifest
from frostline.caching import gathering, publishing, wanted
from frostline.caching.pool import CLAIMS, DIGESTS, FRESH, LATENTS, Pool
from frostline.errors import Refused
from frostline.maintenance import caches, parts
from frostline.maintenance.parts import UNREADABLE
from frostline.params import CacheParams
from frostline.store import payloads
from frostline.store.layout import CAPTIONS, ITEMS, TEXT, compute

COLUMNS = {ITEMS: "latent_id", LATENTS: "latent_id", CAPTIONS: "text_id"}  # by which a file's rows are asked for


@dataclass(frozen=True, kw_only=True)
class Unused:
    """A file that may go."""

    kind: str
    path: Path
    size: int  # bytes
    freed: int  # bytes that go with it: 0 while a cache has the same file under another name


def find(sources: Sequence[str], latents: Path, manifests: Path, params: CacheParams, pool: Pool) -> list[Unused]:
    """Files of the pool that these sources, all that there are, have no use for.

    ``latents`` and ``manifests`` hold a folder per source. Raises Refused if nothing is known of what a source uses.
    """
    published = publishing.published(pool)
    by_name = {source: published.get(source, set[str]()) | _listed(latents / source) for source in sources}
    prepared = [source for source in sources if (manifests / source / manifest.SUMMARY).is_file()]
    if unknown := [source for source in sources if not by_name[source] and source not in prepared]:
        raise Refused(
            f"sources {unknown} are neither prepared nor cached, so what they will use is not known; "
            "run `dvc repro` first, or take them out of params.yaml"
        )
    used = set[str]().union(*by_name.values())
    left = [path for path in _parts(pool) if _name(path, pool) not in used]
    needed = _needed([manifests / source for source in prepared], params, used, pool) if left else {}
    gone = [path for path in left if not _holds(path, needed)]
    others = _leavings(sources, {_name(path, pool) for path in gone}, pool)
    return [_unused(path, pool) for path in (*gone, *others)]


def remove(unused: Sequence[Unused], pool: Pool) -> None:
    """Remove what was found, while no other process uses the pool."""
    for one in unused:
        one.path.unlink()
    for folder in (pool.folder / ITEMS).glob("*"):
        if not any(folder.iterdir()):
            folder.rmdir()


def _listed(folder: Path) -> set[str]:
    """The parts that a cache lists; none if its manifest is not there or cannot be read."""
    try:
        return {part.name for part in caches.read(folder.name, folder).listing.parts}
    except UNREADABLE:
        return set()


def _parts(pool: Pool) -> list[Path]:
    return sorted(path for path in pool.folder.rglob("*.parquet") if not path.name.startswith("."))


def _name(path: Path, pool: Pool) -> str:
    return path.relative_to(pool.folder).as_posix()


def _needed(manifests: Sequence[Path], params: CacheParams, used: set[str], pool: Pool) -> dict[str, pa.Array]:
    """Ids by column that manifests ask for and no part of ``used`` has."""
    rows = [manifest.stored(path) for path in manifests]
    ids = {
        column: [ids for one in rows for device in wanted.DEVICES for ids in of(one, pool.space, params, device)]
        for column, of in (("latent_id", gathering.latent_ids), ("text_id", gathering.text_ids))
    }
    return {column: _without(column, arrays, used, pool) for column, arrays in ids.items()}


def _without(column: str, asked: Sequence[pa.Array], used: set[str], pool: Pool) -> pa.Array:
    ids = pa.concat_arrays([pa.array([], pa.string()), *asked])
    for path in (pool.path(name) for name in sorted(used)):
        if COLUMNS.get(parts.kind(path)) == column and path.is_file():
            here = _ids(path)
            ids = ids.filter(compute.invert(compute.is_in(ids, here)))
    return ids


def _holds(path: Path, needed: Mapping[str, pa.Array]) -> bool:
    """Does a file have a row that is needed? A text is as its captions are."""
    if parts.kind(path) == TEXT:
        path = path.parent.with_name(CAPTIONS) / path.name
    column = COLUMNS.get(parts.kind(path))
    return column is not None and bool(compute.any(compute.is_in(_ids(path), needed[column])).as_py())


def _ids(path: Path) -> pa.Array:
    """What a file's rows are asked for by; nothing of one that cannot be read."""
    column = COLUMNS[parts.kind(path)]
    try:
        return payloads.columns(path, [column], None)[column].combine_chunks()
    except UNREADABLE:
        return pa.array([], pa.string())


def _leavings(sources: Sequence[str], gone: set[str], pool: Pool) -> Iterable[Path]:
    """What is no part: of sources, parts and processes that are gone."""
    yield from sorted(path for path in pool.folder.rglob(".*") if path.is_file())
    yield from sorted(path for path in (pool.folder / CLAIMS).glob("*") if not path.name.startswith("."))
    yield from sorted(path for path in (pool.folder / publishing.SOURCES).glob("*.json") if path.stem not in sources)
    digests = pool.folder / DIGESTS
    for record in sorted((*digests.rglob("*.txt"), *digests.rglob("*.ids"))):
        name = record.relative_to(digests).with_suffix("").as_posix()
        if name in gone or not pool.path(name).exists():
            yield record


def _unused(path: Path, pool: Pool) -> Unused:
    status, top = path.stat(), path.relative_to(pool.folder).parts[0]
    kind = "killed writers" if path.name.startswith(".") else f"{FRESH} {path.parent.name}" if top == FRESH else top
    return Unused(kind=kind, path=path, size=status.st_size, freed=status.st_size if status.st_nlink == 1 else 0)
