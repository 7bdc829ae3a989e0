"""Small texts of a source, such as captions beside media: read once, and again when their stamps change."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from frostline import storage
from frostline.errors import WrongUse
from frostline.sources import memory
from frostline.storage import Blob

TABLES = "create table if not exists texts (path text primary key, stamp text not null, data blob not null);"
NOTHING = None, b""  # no stamp is like it


class Texts:
    """Reads as ``storage.read_all`` does; what was read is kept in an SQLite file that can be deleted at any time."""

    def __init__(self, kept: Path, *, verify: bool) -> None:
        self._kept, self._verify = kept, verify

    def read_all(self, blobs: Sequence[Blob], limit: int) -> Iterator[bytes | WrongUse]:
        """The bytes of many small blobs in order, or why one cannot be read."""
        with memory.opened(self._kept, TABLES) as store:
            known: dict[str, tuple[str, bytes]] = {}
            if not self._verify:
                known = {path: (stamp, data) for path, stamp, data in store.execute("select * from texts")}
            kept = [known.get(blob.path, NOTHING) for blob in blobs]
            found = [data if stamp == blob.stamp else None for blob, (stamp, data) in zip(blobs, kept, strict=True)]
            unknown = [blob for blob, data in zip(blobs, found, strict=True) if data is None]
            fresh = storage.read_all(unknown, limit)
            new: list[tuple[str, str, bytes]] = []
            for blob, data in zip(blobs, found, strict=True):
                if data is not None:
                    yield data
                    continue
                read = next(fresh)
                if isinstance(read, bytes) and blob.stamp:
                    new.append((blob.path, blob.stamp, read))
                yield read
            with store:
                store.executemany("insert or replace into texts values (?, ?, ?)", new)
