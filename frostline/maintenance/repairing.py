"""Damage taken away, so that what was lost is encoded again and nothing else.

A part that is whole in a cache or in the pool is put back where it is not. Of a part that is whole in neither, the rows
that are go into the pool as fresh units, and the part goes. So a cache that is made anew finds in the pool all that
there was of it: DVC removes an output before its stage runs, and what lay there alone would be lost.
"""

import itertools
import shutil
from pathlib import Path

from frostline import digests
from frostline.caching import publishing
from frostline.caching.building import text_of
from frostline.caching.pool import CLAIMS, DIGESTS, LATENTS, Pool
from frostline.maintenance import fetching, findings, parts, rescuing
from frostline.maintenance.caches import Cache, ListedPart
from frostline.maintenance.parts import Opened
from frostline.maintenance.rescuing import Rescue
from frostline.maintenance.verifying import Looked
from frostline.store import payloads
from frostline.store.layout import CAPTIONS, ITEMS, MANIFEST, TEXT


class Repair:
    """Mends caches and their pool after every row of both was looked at, while no other process uses them."""

    def __init__(self, pool: Pool, looked: Looked) -> None:
        self.done: list[str] = []  # a line each
        self._pool, self._looked = pool, looked
        self._lost: list[Path] = []  # what caches lack now
        self._made_so: list[Path] = []  # those of them that were wrong before they got their digest
        self._damaged = findings.damaged_paths(looked.found)
        self._rescue = Rescue(pool)
        base = looked.expected.base
        self._spaces = [*([base] if base else []), *(cache.space for cache in looked.caches)]

    @property
    def whole(self) -> bool:
        """Is nothing wrong any more?"""
        return not self._lost and not any(finding.verdict == "differs" for finding in self._looked.found)

    def following(self, latents: Path) -> list[str]:
        """What is to be run, one command after the other, so that caches below a folder get what they lack.

        DVC restores what it knows, where it has it, and that is wanted but for what was wrong from the beginning.
        """
        again = dict.fromkeys(path.relative_to(latents).parts[0] for path in self._made_so)
        forced = [f"dvc repro --force --single-item cache@{source}" for source in again]
        return [*forced, *(["dvc repro"] if self._lost else [])]

    def run(self) -> None:
        """Mend the caches, and take away all else that is damaged."""
        caches = self._looked.caches
        for cache in caches:
            self._keep(cache)
        for cache in caches:
            for part in cache.listing.parts:
                self._mend(cache, part)
        for path in sorted(self._damaged):
            if path.exists() or path.is_symlink():
                self._take_away(path)
        self._rename_units()
        self._sweep()

    def _keep(self, cache: Cache) -> None:
        """Have the whole parts of a cache in the pool, so that they outlive the folder."""
        kept = 0
        for part in cache.listing.parts:
            pooled = self._pool.path(part.name)
            if cache.address:
                kept += self._keep_far(cache, part)
            elif self._whole(cache.path(part)) and not self._has(part):
                remove(pooled)
                publishing.link(cache.path(part), pooled)
                self._pool.keep(part.name)
                self._damaged.discard(pooled)
                kept += 1
        record = self._pool.folder / publishing.SOURCES / f"{cache.source}.json"
        if not self._whole(record):
            publishing.record(cache.source, [part.name for part in cache.listing.parts], self._pool)
            self._damaged.discard(record)
        if kept:
            self.done.append(f"{cache.folder}: {kept} part(s) taken into the pool, which lacked them")

    def _keep_far(self, cache: Cache, part: ListedPart) -> bool:
        if cache.path(part) in self._damaged or self._has(part):
            return False
        remove(pooled := self._pool.path(part.name))
        self._damaged.discard(pooled)
        return fetching.keep(cache, part, self._pool)

    def _mend_far(self, cache: Cache, part: ListedPart, address: str) -> None:
        """Send a part again from the pool, or save what is whole of it."""
        path = cache.path(part)
        if path not in self._damaged:
            return
        self._damaged.discard(path)
        if self._has(part):
            fetching.send(cache, part, self._pool, address)
            self.done.append(f"{path}: sent again from the pool to {address}")
            return
        self._lost.append(path)
        self._made_so.append(path)  # DVC has all of its output, and would run nothing
        both = {part.name, part.name.replace(TEXT, CAPTIONS, 1), part.name.replace(CAPTIONS, TEXT, 1)}
        with fetching.fetched(cache, [name for name in cache.objects if name in both]) as folder:
            saved = self._save(cache, part.name, folder)
        fetching.remove(cache, part)
        self._drop(self._pool.path(part.name))
        self.done.append(f"{path}: taken away from {address}{_saved(saved)}")

    def _mend(self, cache: Cache, part: ListedPart) -> None:
        """Put a part back from the pool, or save what is whole of it."""
        if cache.address:
            self._mend_far(cache, part, cache.address)
            return
        path = cache.path(part)
        if self._whole(path):
            return
        pooled = self._pool.path(part.name)
        if self._has(part) and isinstance(parts.look(part, pooled, cache.space), Opened):
            remove(path)
            publishing.link(pooled, path)
            self._damaged.discard(path)
            self.done.append(f"{path}: put back from the pool")
            return
        self._lost.append(path)
        if path.exists() and digests.of_file(path) == part.digest:
            self._made_so.append(path)
        saved = self._save(cache, part.name, cache.folder)
        self._drop(pooled)
        remove(path)
        self.done.append(f"{path}: taken away{_saved(saved)}")

    def _whole(self, path: Path) -> bool:
        return path.exists() and path not in self._damaged

    def _has(self, part: ListedPart) -> bool:
        """Is a part in the pool, as the manifest knows it?"""
        return self._whole(self._pool.path(part.name)) and self._pool.digest(part.name) == part.digest

    def _save(self, cache: Cache, name: str, folder: Path) -> int:
        """Rescue the whole rows of a part from either of its copies, that below a folder and that in the pool."""
        places = (folder, self._pool.folder)
        if name.startswith(f"{ITEMS}/"):
            return sum(self._rescue.latents(place / name, [cache.space]) for place in places)
        if name.startswith((f"{CAPTIONS}/", f"{TEXT}/")):
            captions = name.replace(TEXT, CAPTIONS, 1)
            both = itertools.product(places, places)
            return sum(self._rescue.texts(one / captions, two / text_of(captions), [cache.space]) for one, two in both)
        return 0

    def _take_away(self, path: Path) -> None:
        """Remove what is no listed part: a stray file, a manifest, a file of the pool, what a killed writer left."""
        saved = 0
        if path.is_relative_to(self._pool.folder):
            saved = self._save_file(path)
            self._drop(path)
        elif path.name == MANIFEST:
            self._lost.append(path)
            if any(cache.folder == path.parent for cache in self._looked.caches):
                self._made_so.append(path)
            else:  # it cannot be read, so its parts were not looked at
                saved = sum(self._save_file(part) for part in self._unpooled(path.parent))
        remove(path)
        self.done.append(f"{path}: taken away{_saved(saved)}")

    def _unpooled(self, folder: Path) -> list[Path]:
        """Parts of a cache that the pool lacks."""
        found = sorted(path for path in folder.rglob("*.parquet") if not path.name.startswith("."))
        names = {path: path.relative_to(folder).as_posix() for path in found}
        return [path for path in found if not self._whole(self._pool.path(names[path]))]

    def _save_file(self, path: Path) -> int:
        """Rescue the whole rows of a file, whatever it holds."""
        if path.suffix != ".parquet" or path.name.startswith("."):
            return 0
        if (kind := parts.kind(path)) in (ITEMS, LATENTS):
            return self._rescue.latents(path, self._spaces)
        if kind in (CAPTIONS, TEXT):
            captions, text = (path.parent.with_name(name) / path.name for name in (CAPTIONS, TEXT))
            return self._rescue.texts(captions, text, self._spaces)
        return 0

    def _drop(self, path: Path) -> None:
        """Remove a file of the pool; neither captions nor a text is of use without the other."""
        paired = (CAPTIONS, TEXT) if path.parent.name in (CAPTIONS, TEXT) else (path.parent.name,)
        for name in paired:
            remove(path.parent.with_name(name) / path.name)
            self._pool.remove(path.parent.with_name(name) / path.name)

    def _rename_units(self) -> None:
        """Give units another name if it is not that of their ids.

        A unit is taken as done by its name alone: where an id was damaged, its row would be missed and not made again.
        """
        for kind, column in ((LATENTS, "latent_id"), (CAPTIONS, "text_id")):
            for path in self._pool.fresh(kind):
                ids = payloads.columns(path, [column], None)[column].to_pylist()
                tensors = path if kind == LATENTS else path.parent.with_name(TEXT) / path.name
                if path.stem not in rescuing.names(ids) and rescuing.tensors(tensors, self._spaces):
                    self._save_file(path)
                    self._drop(path)

    def _sweep(self) -> None:
        """Forget the digests of parts that are gone, and claims of processes that are."""
        records = self._pool.folder / DIGESTS
        for record in (*records.rglob("*.txt"), *records.rglob("*.ids")):
            if not self._pool.path(record.relative_to(records).with_suffix("").as_posix()).exists():
                record.unlink()
        shutil.rmtree(self._pool.folder / CLAIMS, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, under this name, or a folder.

    DVC may have the same file in its own cache, by a link, and trusts it while it is read-only: a damaged one would
    come back. Made writable, it is digested again and thrown away.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return
    if path.exists():
        path.chmod(0o644)
    path.unlink(missing_ok=True)


def _saved(count: int) -> str:
    return f"; {count} row(s) of it saved" if count else ""
