"""What the two kinds of storage have in common: where bytes lie, what cannot be taken, how a read fails."""

import errno
import io
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, cast

from frostline.errors import FrostlineError, WrongUse


class Gone(WrongUse):
    """There is no such file or object."""


class Changed(WrongUse):
    """The bytes are not those that were listed: another size, or another object under the name."""


class Unreachable(FrostlineError):
    """An object store that does not answer: run the same command again."""


class Extent(NamedTuple):
    """Where some bytes lie."""

    path: str  # a local path or s3://bucket/key
    offset: int
    size: int
    stamp: str  # changes when the bytes do, "" where nobody looked


@dataclass(frozen=True, slots=True)
class Passed:
    """Something in a tree that cannot be taken."""

    name: str  # relative; in escaped form where it cannot be shown
    reason: str  # unprintable_name, link_to_folder, absent (a link to nothing), not_a_file, unreadable
    detail: str


Walked = tuple[list[tuple[str, Extent]], list[Passed]]  # (relative name, bytes) of what can be taken, and the rest


def nameable(name: str) -> bool:
    """Can a name stand in tables and messages? Not with line ends, control characters or bytes that are not UTF-8."""
    return name.isprintable() or all(char.isprintable() or unicodedata.category(char) == "Zs" for char in name)


def unprintable(name: str) -> Passed:
    """A file whose name cannot be shown as it is."""
    shown = ascii(name)
    return Passed(shown, "unprintable_name", f"{shown}: a name with line ends, control characters or not UTF-8; rename")


Fill = Callable[[int, memoryview], object]  # fills all of the view with the bytes from a place on


def window(size: int, fill: Fill, finish: Callable[[], object], chunk: int) -> BinaryIO:
    """A seekable reader of ``size`` bytes that ``fill`` gets, about ``chunk`` of them at once."""
    return io.BufferedReader(cast(io.RawIOBase, _Window(size, fill, finish)), chunk)


class _Window(io.RawIOBase):
    def __init__(self, size: int, fill: Fill, finish: Callable[[], object]) -> None:
        super().__init__()
        self._size, self._fill, self._finish, self._at = size, fill, finish, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "a place before the first byte")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._at))
        if length:
            self._fill(self._at, memoryview(buffer).cast("B")[:length])
            self._at += length
        return length

    def close(self) -> None:
        if not self.closed:
            self._finish()
        super().close()
