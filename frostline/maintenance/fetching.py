"""Parts of a cache in a store, on this disk: to be looked at as a whole, or to stay in the pool."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from frostline import digests, files, storage
from frostline.caching import remote
from frostline.caching.pool import Pool
from frostline.maintenance.caches import Cache, ListedPart


@contextlib.contextmanager
def fetched(cache: Cache, names: Sequence[str]) -> Iterator[Path]:
    """A folder that holds parts of a cache, for a while; below TMPDIR."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.copy(cache.objects[name], path)
        yield Path(folder)


def keep(cache: Cache, part: ListedPart, pool: Pool) -> bool:
    """Take a part into the pool; False, and nothing is taken, if it is not what its digest says."""
    with files.replacing(pool.path(part.name)) as beside:
        storage.copy(cache.objects[part.name], beside)
        same = digests.of_file(beside) == part.digest
    if same:
        pool.keep(part.name)
    else:
        pool.remove(pool.path(part.name))
    return same


def send(cache: Cache, part: ListedPart, pool: Pool, address: str) -> None:
    """Put a part of the pool in the place of what the store has of it."""
    remove(cache, part)
    remote.send(cache.folder, [part.model_dump()], pool.folder, address)


def remove(cache: Cache, part: ListedPart) -> None:
    """Remove what the store has of a part."""
    if part.name in cache.objects:
        storage.remove(cache.objects[part.name].path)
