"""Objects of a store behind ``s3://``: what is there, and their bytes by ranges."""

import datetime as dt
import functools
import http.client
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from frostline.errors import WrongUse
from frostline.storage import ahead, connection
from frostline.storage.connection import S3, Clock, bucket_and_key
from frostline.storage.extents import Changed, Extent, Passed, Walked, nameable, unprintable, window
from frostline.storage.ranges import Piece, Wanted, pieces

CHUNK = 4 << 20  # bytes a file that is read from front to back asks for at once
COPIED = 64 << 20  # bytes in memory while an object is copied
RANGE = 8 << 20  # bytes of one request among many
GAP = 1 << 18  # what lies between two wanted ranges is read too up to here: cheaper than another request of 30 ms
IN_FLIGHT = 16  # ranges asked for at once: 128 MiB of memory at most
PAGE = 1000  # names asked for at once, the most a store gives
TOGETHER = 64  # small objects asked for at once


def look(path: str) -> Extent:
    """An object as it is now; raises Gone."""
    return connection.run(_look(path))


async def _look(path: str) -> Extent:
    bucket, key = bucket_and_key(path)
    head = await connection.call(path, "head_object", Bucket=bucket, Key=key)
    return Extent(path, 0, head["ContentLength"], f"{head['ETag']}-{head['ContentLength']}")


def open_(entry: Extent) -> BinaryIO:
    """A seekable reader of an object or a part of it, for reading from front to back."""

    def fill_one(place: int, view: memoryview) -> None:
        connection.run(get(entry, place, view))

    return window(entry.size, fill_one, lambda: None, max(1, min(entry.size, CHUNK)))


def read(entry: Extent) -> bytes:
    """All bytes, a large object in ranges at once."""
    data = bytearray(entry.size)
    fill(entry, [(0, memoryview(data))])
    return bytes(data)


def read_each(entries: Sequence[Extent]) -> list[bytes | WrongUse]:
    """The bytes of small objects or parts of them, asked for at once, or why one cannot be read."""
    return connection.run(connection.each(_tried, entries, TOGETHER))


async def _tried(entry: Extent) -> bytes | WrongUse:
    data = bytearray(entry.size)
    try:
        await get(entry, 0, memoryview(data))
    except WrongUse as error:
        return error
    return bytes(data)


def fill(entry: Extent, wanted: Wanted) -> None:
    """Fill each view with the bytes from its place on; neighbours share a request, and requests run at once."""
    found = list(pieces(wanted, most=RANGE, gap=GAP))
    if found:
        connection.run(connection.each(functools.partial(_fill, entry), found, IN_FLIGHT))


async def _fill(entry: Extent, piece: Piece) -> None:
    whole = piece.views[0][1] if len(piece.views) == 1 else memoryview(bytearray(piece.length))
    await get(entry, piece.start, whole)
    if len(piece.views) > 1:
        piece.deal(whole)


async def get(entry: Extent, start: int, view: memoryview) -> None:
    """Fill ``view`` with bytes from ``start`` on; what had come before a connection broke is not asked for again.

    Raises Changed if it is not, or no longer, the object that was listed.
    """
    bucket, key = bucket_and_key(entry.path)
    first, last = entry.offset + start, entry.offset + start + len(view) - 1
    known = entry.stamp.rpartition("-")[0] if entry.stamp else ""
    done = 0

    async def action(client: Any, clock: Clock) -> None:
        nonlocal known, done
        answer = await client.get_object(Bucket=bucket, Key=key, Range=f"bytes={first + done}-{last}")
        known = known or answer["ETag"]
        async with answer["Body"] as body:
            if answer["ETag"] != known or answer["ContentLength"] != len(view) - done:
                raise Changed(f"{entry.path}: another object than when it was listed; run again")
            while done < len(view):
                data = await body.read(min(connection.MOVED, len(view) - done))
                if not data:
                    raise http.client.IncompleteRead(b"", len(view) - done)
                view[done : done + len(data)] = data
                done += len(data)
                clock.moved(len(data))

    if len(view):
        await connection.patiently(entry.path, action)


def copy(entry: Extent, path: Path) -> None:
    """Copy an object, or a part of one, to a local file."""
    with path.open("wb") as file:
        for start in range(0, entry.size, COPIED):
            data = bytearray(min(COPIED, entry.size - start))
            fill(entry, [(start, memoryview(data))])
            file.write(data)


def remove(path: str) -> None:
    """Remove an object; it is no error if there is none."""
    bucket, key = bucket_and_key(path)
    connection.run(connection.call(path, "delete_object", Bucket=bucket, Key=key))


class Reader:
    """Reads many ranges of one object, nothing of which is kept on a disk: see ``ranges.Reader``."""

    def __init__(self, entry: Extent) -> None:
        self.entry = entry

    def fill(self, wanted: Wanted) -> bool:
        """See ``ranges.Reader``: neighbours share a request, and requests run at once."""
        fill(self.entry, [(place, view) for place, view in wanted if not ahead.take(self.entry, place, view)])
        return True

    def expect(self, wanted: Sequence[tuple[int, int]]) -> None:
        """See ``ranges.Reader``: each range comes by a request of its own and waits in memory."""
        for place, length in wanted:
            ahead.begin(self.entry, place, length, get)

    def forget(self, wanted: Sequence[tuple[int, int]]) -> None:
        """Nothing is kept once it was read."""

    def open(self) -> BinaryIO:
        """See ``ranges.Reader``."""
        return open_(self.entry)


def walk(root: str) -> Walked:
    """All objects below a prefix; raises WrongUse if there is none."""
    found: list[tuple[str, Extent]] = []
    passed: list[Passed] = []
    for name, entry in connection.run(names(root)):
        if not name or name.endswith("/") or any(_is_hidden(part) for part in name.split("/")):
            continue  # a folder's mark, or a hidden name
        if not nameable(name) or ".." in name.split("/") or PurePosixPath(name).as_posix() != name or name[0] == "/":
            passed.append(unprintable(name))
        else:
            found.append((name, entry))
    if not found and not passed:
        raise WrongUse(f"{root}: no objects below that prefix; correct the path of its source in params.yaml")
    return found, passed


def _is_hidden(part: str) -> bool:
    return part.startswith(".") and part not in (".", "..")


def below(root: str) -> tuple[str, str]:
    """The bucket, and what all keys below a prefix begin with."""
    bucket, prefix = bucket_and_key(root)
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


async def names(root: str) -> list[tuple[str, Extent]]:
    """All objects below a prefix, by what their keys have after it."""
    return [(name, extent) for name, extent, _ in await listed(root)]


async def listed(root: str) -> list[tuple[str, Extent, dt.datetime]]:
    """The same, with the times at which they were put there."""
    bucket, prefix = below(root)
    found: list[tuple[str, Extent, dt.datetime]] = []
    more: dict[str, Any] = {}
    while True:
        asked = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": PAGE, **more}
        page = await connection.call(root, "list_objects_v2", **asked)
        for entry in page.get("Contents", []):
            extent = Extent(f"{S3}{bucket}/{entry['Key']}", 0, entry["Size"], f"{entry['ETag']}-{entry['Size']}")
            found.append((entry["Key"].removeprefix(prefix), extent, entry["LastModified"]))
        if not page["IsTruncated"]:
            return found
        more = {"ContinuationToken": page["NextContinuationToken"]}
