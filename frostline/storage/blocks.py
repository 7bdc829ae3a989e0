"""Objects kept on a local disk in blocks of 8 MiB, up to a bound: what is read again comes from there.

A block is a file of its own, ``<digest of path, stamp and range>-<number>.block``, written beside and renamed, so that
processes share a folder without a lock: each may fetch a block, and whoever opened one keeps it. The stamp of an object
holds its ETag, so another object under the same name has other blocks. A file of another length than the block's was
torn by a crash: it is fetched again. What was used longest ago goes when the bound is reached.

Why not a library: fsspec's blockcache knows no bound and keeps its list of blocks in one process, its filecache keeps
whole objects only; diskcache has a bound and knows processes, but hands out a truncated value without a word and asks
SQLite for every read (246 microseconds; a row of 128 KiB from a block takes 17).
"""

import asyncio
import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from frostline import digests
from frostline.errors import FrostlineError, WrongUse
from frostline.storage import connection, remote
from frostline.storage.extents import Changed, Extent, window
from frostline.storage.ranges import Piece, Wanted, cells

SIZE = 8 << 20
CHUNK = 1 << 16  # bytes a file that is read from front to back takes from a block at once
FRESH = 60.0  # seconds after which a block that is read is marked as used again
NAME = re.compile(r"\.?[0-9a-f]{32}-\d+\.block(\..*)?")  # a block, or one that is being written


class Blocks:
    """A folder of blocks, and how many bytes it may hold; several processes may use it at once.

    The folder is looked through whenever a 64th of the bound was written to it; each of several processes may be over
    the bound by that much for a moment.
    """

    def __init__(self, folder: Path, bound: int) -> None:
        """The folder is made with the first reader; raises WrongUse if the bound is less than two blocks."""
        if bound < 2 * SIZE:
            raise WrongUse(f"{folder}: a bound of {bound} bytes; give the blocks of objects {2 * SIZE} or more")
        self.folder, self.bound = folder, bound
        self.came: set[Path] = set()  # blocks that were fetched before they were wanted, until they are
        self._room = 0  # bytes that may be written before the folder is looked through again
        self._writing: set[tuple[int, Path]] = set()  # blocks on their way to the disk, by process: see ``block``
        self._coming: dict[tuple[int, Path], asyncio.Task[memoryview]] = {}

    def __reduce__(self) -> tuple[type["Blocks"], tuple[Path, int]]:
        return Blocks, (self.folder, self.bound)

    def reader(self, entry: Extent) -> "Reader":
        """Reads ranges of an object by way of the blocks; raises Gone or Changed if it is not there as listed.

        Raises WrongUse if the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WrongUse(f"{self.folder}: blocks of objects cannot be kept there ({error.strerror})") from None
        if entry.stamp:
            return Reader(self, entry)
        whole = remote.look(entry.path)
        if entry.offset + entry.size > whole.size:
            raise Changed(f"{entry.path}: {whole.size} bytes, another size than when it was listed; run again")
        return Reader(self, entry._replace(stamp=whole.stamp))

    async def block(self, path: Path, entry: Extent, piece: Piece) -> memoryview:
        """A block fetched and kept; those who ask for it while it comes get the same one."""
        key = (os.getpid(), path)  # a task of the process before a fork never ends here
        if key not in self._coming:
            self._coming[key] = asyncio.create_task(self._bring(path, entry, piece))
            self._coming[key].add_done_callback(lambda _: self._coming.pop(key))
        return await asyncio.shield(self._coming[key])

    async def _bring(self, path: Path, entry: Extent, piece: Piece) -> memoryview:
        data = memoryview(bytearray(piece.length))
        await remote.get(entry, piece.start, data)
        self._make_room(piece.length)
        self._writing.add((os.getpid(), path))
        try:
            await asyncio.to_thread(self._keep, path, data)
        finally:
            self._writing.discard((os.getpid(), path))
        return data

    def _keep(self, path: Path, data: memoryview) -> None:
        """Write beside and rename; not synced: a block that the machine's crash tore is known by its length."""
        beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            try:
                beside.write_bytes(data)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # another process took it for a leftover; the bytes are here all the same
        except OSError as error:
            raise WrongUse(
                f"{self.folder}: blocks of objects cannot be kept ({error.strerror}); "
                f"make room, lower the bound of {self.bound} bytes, or name another folder"
            ) from None

    def _make_room(self, size: int) -> None:
        """Remove what was used longest ago, where it is time to look."""
        self._room -= size
        if self._room >= 0:
            return
        spare = self.bound // 64
        found = sorted(self._files())
        coming = size + SIZE * sum(process == os.getpid() for process, _ in self._writing)
        held = coming + sum(length for _, length, _ in found)
        for _, length, path in found:
            if held + spare <= self.bound:
                break
            Path(path).unlink(missing_ok=True)
            held -= length
        self._room = min(spare, self.bound - held)

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """When it was used last, bytes and path of all blocks, those that are being written too."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if NAME.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        yield status.st_mtime, status.st_size, entry.path


class Reader:
    """Reads ranges of one object by way of blocks: see ``ranges.Reader``."""

    def __init__(self, blocks: Blocks, entry: Extent) -> None:
        self.entry, self._blocks = entry, blocks
        self._stem = f"{blocks.folder}/{digests.of_json(list(entry))}-"

    def fill(self, wanted: Wanted) -> bool:
        """See ``ranges.Reader``: from the disk what lies there, the rest fetched at once."""
        pieces = self._pieces(wanted)
        absent = [piece for piece in pieces if not self._from_disk(piece)]
        if absent:
            connection.run(connection.each(self._fetch, absent, remote.IN_FLIGHT))
        return self._came(pieces) or bool(absent)

    def _came(self, pieces: Sequence[Piece]) -> bool:
        """Was one of these fetched before it was wanted, and is wanted now for the first time?"""
        came = self._blocks.came
        if not came:
            return False
        here = came.intersection(self._path(piece.start // SIZE) for piece in pieces)
        came -= here
        return bool(here)

    def expect(self, wanted: Sequence[tuple[int, int]]) -> None:
        """See ``ranges.Reader``: blocks that are not there are fetched in the background."""
        numbers = {number for place, length in wanted for number in range(place // SIZE, -(-(place + length) // SIZE))}
        absent = [self._piece(number, []) for number in sorted(numbers) if not os.access(self._name(number), os.F_OK)]
        if absent:
            connection.start(self._expect(absent))

    def forget(self, wanted: Sequence[tuple[int, int]]) -> None:
        """See ``ranges.Reader``: their blocks go."""
        for place, length in wanted:
            for number in range(place // SIZE, -(-(place + length) // SIZE)):
                self._path(number).unlink(missing_ok=True)

    def open(self) -> BinaryIO:
        """See ``ranges.Reader``."""
        return window(self.entry.size, lambda place, view: self.fill([(place, view)]), lambda: None, CHUNK)

    def _pieces(self, wanted: Wanted) -> list[Piece]:
        end = max((place + len(view) for place, view in wanted), default=0)
        if end > self.entry.size:
            raise Changed(f"{self.entry.path}: ends before byte {end}; run again")
        return [self._piece(number, views) for number, views in cells(wanted, SIZE).items()]

    def _piece(self, number: int, views: Wanted) -> Piece:
        return Piece(number * SIZE, min(SIZE, self.entry.size - number * SIZE), views)

    def _path(self, number: int) -> Path:
        return Path(self._name(number))

    def _name(self, number: int) -> str:
        return f"{self._stem}{number}.block"

    def _from_disk(self, piece: Piece) -> bool:
        """Fill the views from a block that lies there whole."""
        try:
            handle = os.open(self._name(piece.start // SIZE), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            status = os.fstat(handle)
            if status.st_size != piece.length:
                return False
            if time.time() - status.st_mtime > FRESH:
                os.utime(handle)
            return all(os.preadv(handle, [view], place) == len(view) for place, view in piece.views)
        finally:
            os.close(handle)

    async def _fetch(self, piece: Piece) -> None:
        piece.deal(await self._blocks.block(self._path(piece.start // SIZE), self.entry, piece))

    async def _expect(self, absent: Sequence[Piece]) -> None:
        with contextlib.suppress(FrostlineError):  # who reads it will meet the same
            await connection.each(self._fetch_before, absent, remote.IN_FLIGHT)

    async def _fetch_before(self, piece: Piece) -> None:
        path = self._path(piece.start // SIZE)
        async with connection.turn():
            if not path.exists():
                await self._fetch(piece)
                self._blocks.came.add(path)
