"""SQLite files of what can be found again: they may be deleted at any time, and a damaged one goes."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def opened(path: Path, tables: str) -> Iterator[sqlite3.Connection]:
    """A file of such tables; a file that is damaged is begun anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        store = _connected(path, tables)
    except sqlite3.DatabaseError:
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        store = _connected(path, tables)
    with contextlib.closing(store):
        yield store


def _connected(path: Path, tables: str) -> sqlite3.Connection:
    store = sqlite3.connect(path)
    store.execute("pragma journal_mode = wal")
    store.execute("pragma synchronous = normal")
    store.executescript(tables)
    return store
