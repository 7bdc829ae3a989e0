"""The one door to where bytes lie: a local disk, or an object store behind ``s3://``.

A Blob is bytes that can be opened again, here or in another process: a whole file or object, or a member of a tar.

Many ranges of one large file are read by a Reader; those of an object can be kept on a local disk in Blocks. What
others shall read is published.

Errors: Gone (no such file), Changed (not the bytes that were listed), Unreachable (the store did not answer within
PATIENCE seconds; nothing is wrong with the item).
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from frostline.errors import WrongUse
from frostline.storage import connection, local, publishing, remote
from frostline.storage.blocks import Blocks
from frostline.storage.connection import PATIENCE, S3
from frostline.storage.extents import Changed, Extent, Gone, Passed, Unreachable, nameable
from frostline.storage.publishing import Published, Sending
from frostline.storage.ranges import Reader, read
from frostline.storage.remote import TOGETHER

__all__ = [
    "PATIENCE",
    "Blob",
    "Blocks",
    "Changed",
    "Gone",
    "Passed",
    "Published",
    "ReadAll",
    "Reader",
    "Sending",
    "Unreachable",
    "ages",
    "blob",
    "copy",
    "is_remote",
    "join",
    "nameable",
    "objects",
    "parent",
    "publish",
    "read",
    "read_all",
    "reader",
    "remove",
    "tree",
    "walk",
]


class Blob(Extent):
    """Bytes that can be opened again."""

    __slots__ = ()

    def open(self) -> BinaryIO:
        """A seekable reader of exactly these bytes; a whole local file is a plain file."""
        return remote.open_(self) if is_remote(self.path) else local.open_(self)

    def read(self, limit: int) -> bytes:
        """All bytes; raises WrongUse if there are more than ``limit``."""
        if self.size > limit:
            raise WrongUse(f"{self.path}: {self.size} bytes, but no more than {limit} are read here; shrink it")
        if is_remote(self.path):
            return remote.read(self)
        with self.open() as file:
            data = file.read(self.size)
        if len(data) != self.size:
            raise Changed(f"{self.path}: {len(data)} bytes, {self.size} when it was listed; run again")
        return data

    def part(self, offset: int, size: int) -> "Blob":
        """Bytes within these, such as a member of a tar."""
        return Blob(self.path, self.offset + offset, size, f"{self.stamp}@{offset}")


ReadAll = Callable[[Sequence[Blob], int], Iterator[bytes | WrongUse]]  # see ``read_all``


def is_remote(path: str) -> bool:
    """Is it in an object store? Raises WrongUse for an address of another kind."""
    if "://" in path and not path.startswith(S3):
        raise WrongUse(f"{path}: only local paths and {S3}bucket/prefix are read; copy the data to one of them")
    return path.startswith(S3)


def join(root: str, name: str) -> str:
    """The path of ``name`` below ``root``, or ``name`` itself where it is absolute."""
    if name.startswith("/") or is_remote(name):
        return name
    return f"{root.rstrip('/')}/{name}" if root.rstrip("/") else f"/{name}"


def parent(path: str) -> tuple[str, str]:
    """The folder a path lies in, and its name there."""
    folder, slash, name = path.rpartition("/")
    return folder or ("/" if slash else "."), name


def blob(root: str, name: str, offset: int = 0, size: int | None = None) -> Blob:
    """The bytes of ``name`` below ``root``; without a size, the whole file as it is now; raises Gone.

    The stamp of a local file is its size, times of change and inode; of an object, its ETag and size. With a size
    given nobody looks, and the stamp is "".
    """
    path = join(root, name)
    if size is not None:
        return Blob(path, offset, size, "")
    whole = Blob(*(remote.look(path) if is_remote(path) else local.look(path)))
    return whole if offset == 0 else whole.part(offset, whole.size - offset)


def tree(root: str) -> list[tuple[str, Blob]]:
    """All files below a folder, by name, as ``walk`` finds them; raises WrongUse for a name that cannot be shown."""
    found, passed = walk(root)
    for entry in passed:
        if entry.reason == "unprintable_name":
            raise WrongUse(f"{root}: {entry.detail}")
    return found


def walk(root: str) -> tuple[list[tuple[str, Blob]], list[Passed]]:
    """All files below a folder as (relative name, bytes), by name, and what cannot be taken.

    Hidden names are skipped. Links to files are files, as in the caches of DVC and the hub; links to folders are not
    followed, so there are no loops.
    """
    found, passed = remote.walk(root) if is_remote(root) else local.walk(root.rstrip("/") or "/")
    blobs = [(name, Blob(*extent)) for name, extent in found]
    return sorted(blobs, key=lambda entry: entry[0]), sorted(passed, key=lambda entry: entry.name)


def read_all(blobs: Sequence[Blob], limit: int) -> Iterator[bytes | WrongUse]:
    """The bytes of many small blobs in order, or why one cannot be read; objects are asked for together."""
    for start in range(0, len(blobs), TOGETHER):
        some = blobs[start : start + TOGETHER]
        small = [one for one in some if is_remote(one.path) and one.size <= limit]
        got = dict(zip(small, remote.read_each(small), strict=True)) if small else {}
        for one in some:
            yield got[one] if one in got else _tried(one, limit)


def _tried(entry: Blob, limit: int) -> bytes | WrongUse:
    try:
        return entry.read(limit)
    except WrongUse as error:
        return error


def reader(entry: Blob, blocks: Blocks | None = None) -> Reader:
    """Reads many ranges of one file or object, an object by way of ``blocks`` where they are given.

    Rows in random order of more data than the blocks may hold are read better without: a block is fetched for each.
    """
    if not is_remote(entry.path):
        return local.Reader(entry)
    return blocks.reader(entry) if blocks else remote.Reader(entry)


def objects(address: str) -> dict[str, Blob]:
    """All objects below a prefix, by name; none where there are none."""
    return {name: Blob(*extent) for name, extent in connection.run(remote.names(address))}


def ages(address: str) -> dict[str, float]:
    """How many seconds ago each object below a prefix was put there, by name."""
    now = dt.datetime.now(dt.UTC)
    return {name: (now - put).total_seconds() for name, _, put in connection.run(remote.listed(address))}


def copy(entry: Blob, path: Path) -> None:
    """Copy an object to a local file; raises Gone, Changed or Unreachable, and what was copied by then stays."""
    remote.copy(entry, path)


def remove(path: str) -> None:
    """Remove an object; it is no error if there is none."""
    remote.remove(path)


def publish(files: Sequence[Sending], address: str, *, last: Sending) -> Published:
    """Put local files below a prefix of an object store, ``last`` last: see ``publishing.publish``."""
    if not is_remote(address):
        raise WrongUse(f"{address}: a local path; publish to {S3}bucket/prefix")
    return publishing.publish(files, address, last=last)
