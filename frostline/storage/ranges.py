"""Many ranges of one file: which of them one request brings, and which view gets what of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from frostline.storage.extents import Extent

Wanted = Sequence[tuple[int, memoryview]]  # a place, and the bytes that are to be filled from there on


class Reader(Protocol):
    """Reads many ranges of one file, for those who know where in it what they want lies.

    A reader can be pickled and survives a fork; threads may share it.
    """

    entry: Extent

    def fill(self, wanted: Wanted) -> bool:
        """Fill each view (bytes, writable) from its place on.

        Gives True if some of it was not on this machine when it was first asked for, so that it is worth while to say
        before what will be read.

        Raises Gone, Changed (it ends before, or is another file now), or Unreachable; views may be half filled then.
        """
        ...

    def expect(self, wanted: Sequence[tuple[int, int]]) -> None:
        """Say that ranges (place, length) will be read soon, each at once and as a whole; returns at once."""
        ...

    def forget(self, wanted: Sequence[tuple[int, int]]) -> None:
        """Keep nothing of ranges any longer: they are not what they should be."""
        ...

    def open(self) -> BinaryIO:
        """The whole as a seekable file."""
        ...


def read(reader: Reader, wanted: Sequence[tuple[int, int]]) -> list[bytearray]:
    """The bytes of ranges (place, length)."""
    found = [bytearray(length) for _, length in wanted]
    reader.fill([(place, memoryview(data)) for (place, _), data in zip(wanted, found, strict=True)])
    return found


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that one request brings."""

    start: int
    length: int
    views: Wanted  # places within the piece

    def deal(self, data: memoryview) -> None:
        """Give each view its part of the piece's bytes."""
        for place, view in self.views:
            view[:] = data[place : place + len(view)]


def cells(wanted: Wanted, size: int) -> dict[int, list[tuple[int, memoryview]]]:
    """Ranges cut at multiples of ``size``: for each number of a cell, places within it and their views."""
    found: dict[int, list[tuple[int, memoryview]]] = {}
    for place, view in wanted:
        done = 0
        while done < len(view):
            number, inside = divmod(place + done, size)
            length = min(size - inside, len(view) - done)
            found.setdefault(number, []).append((inside, view[done : done + length]))
            done += length
    return found


def pieces(wanted: Wanted, most: int, gap: int) -> Iterator[Piece]:
    """Ranges joined where no more than ``gap`` bytes lie between them, none longer than ``most``."""
    for number, inside in cells(wanted, most).items():
        views: list[tuple[int, memoryview]] = []
        end = 0
        for place, view in sorted(inside, key=lambda entry: entry[0]):
            if views and place > end + gap:
                yield _piece(number * most, views, end)
                views = []
            end = max(end, place + len(view)) if views else place + len(view)
            views.append((place, view))
        yield _piece(number * most, views, end)


def _piece(cell: int, views: Wanted, end: int) -> Piece:
    first = views[0][0]
    return Piece(cell + first, end - first, [(place - first, view) for place, view in views])
