"""Small texts of a source, such as captions beside media: read once, and again when their stamps change."""

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from frostline import storage
from frostline.errors import WrongUse
from frostline.sources import memory
from frostline.storage import Blob

TABLES = "create table if not exists texts (path text primary key, stamp text not null, data blob not null);"
KNOWN = "select path, stamp, data from texts where path in ({})"
AT_ONCE = 512
NOTHING = None, b""  # no stamp is like it


class Texts:
    """Reads as ``storage.read_all`` does; what was read is kept in an SQLite file that can be deleted at any time."""

    def __init__(self, kept: Path, *, verify: bool) -> None:
        self._kept, self._verify = kept, verify

    def read_all(self, blobs: Sequence[Blob], limit: int) -> Iterator[bytes | WrongUse]:
        """The bytes of many small blobs in order, or why one cannot be read."""
        left = iter(blobs)
        with memory.opened(self._kept, TABLES) as store:
            while some := list(itertools.islice(left, AT_ONCE)):
                yield from self._read(store, some, limit)

    def _read(self, store: sqlite3.Connection, blobs: Sequence[Blob], limit: int) -> list[bytes | WrongUse]:
        known: dict[str, tuple[str, bytes]] = {}
        if not self._verify:
            rows = store.execute(KNOWN.format(", ".join("?" * len(blobs))), [blob.path for blob in blobs])
            known = {path: (stamp, data) for path, stamp, data in rows}
        fresh = [blob for blob in blobs if known.get(blob.path, NOTHING)[0] != blob.stamp]
        read = dict(zip(fresh, storage.read_all(fresh, limit), strict=True))
        new = [(blob.path, blob.stamp, data) for blob, data in read.items() if isinstance(data, bytes) and blob.stamp]
        with store:
            store.executemany("insert or replace into texts values (?, ?, ?)", new)
        return [read[blob] if blob in read else known[blob.path][1] for blob in blobs]
