"""Parts in an object store, opened as files, and their rows read from where they lie.

A part is never read as a whole. Opened, its footer and the columns that are asked for come, checked by the checksums of
their pages; a row comes when it is wanted, and is compared with its digest each time.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from frostline import storage
from frostline.errors import Refused
from frostline.storage import Blob, Blocks, extents
from frostline.store import layout
from frostline.store.pieces import NOWHERE, Pieces

if TYPE_CHECKING:
    from frostline.store.payloads import Tensors

FOOTER = 1 << 16  # bytes at the end of a part that are asked for first
REMEDY = (
    "`frostline cache verify --repair` sends it again where it was made; "
    "or `dvc repro --force --single-item cache@SOURCE` makes it again"
)


class Far:
    """A part in an object store, with what of it was read."""

    def __init__(self, entry: Blob) -> None:
        self.entry = entry
        self._reader = storage.reader(entry)
        self._held: list[tuple[int, bytes]] = []  # ranges: place, bytes

    def __str__(self) -> str:
        return self.entry.path

    def open(self) -> BinaryIO:
        """The whole as a file; bytes that were not asked for before come when they are read."""
        if not self._held:
            self._held = [self._end()]
        return extents.window(self.entry.size, self._fill, lambda: None, 1)

    def ask(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Bring ranges (place, length), at once; those asked for before go, but the end of the file."""
        absent = [(place, length) for place, length in ranges if self._find(place, length) is None]
        with _named():
            found = storage.read(self._reader, absent)
        self._held[1:] = [(place, bytes(data)) for (place, _), data in zip(absent, found, strict=True)]

    def rows(self, blocks: Blocks | None) -> storage.Reader:
        """Reads rows of it, by way of blocks if they are given."""
        return storage.reader(self.entry, blocks)

    def _end(self) -> tuple[int, bytes]:
        place = max(0, self.entry.size - FOOTER)
        with _named():
            [data] = storage.read(self._reader, [(place, self.entry.size - place)])
        return place, bytes(data)

    def _find(self, place: int, length: int) -> memoryview | None:
        for start, data in self._held:
            if start <= place and place + length <= start + len(data):
                return memoryview(data)[place - start : place - start + length]
        return None

    def _fill(self, place: int, view: memoryview) -> None:
        held = self._find(place, len(view))
        if held is not None:
            view[:] = held
            return
        with _named():
            self._reader.fill([(place, view)])


Where = Path | Far  # a part on a disk, or in a store


def remedy(where: Where) -> str:
    """What helps if a part is not what it should be."""
    return layout.REMEDY if isinstance(where, Path) else REMEDY


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Whoever reads a part knows what to do if it is gone."""
    try:
        yield
    except (storage.Gone, storage.Changed) as error:
        raise Refused(f"{str(error).removesuffix('; run again')}; {REMEDY}") from None


class Remote:
    """Reads rows of an object from where they lie: see payloads.Payload."""

    is_far = True

    def __init__(self, path: Far, tensors: "Tensors", pieces: Pieces, blocks: Blocks | None) -> None:
        self.path, self.tensors, self.rows, self.pieces = str(path), tensors, pieces.first[-1], pieces
        self.file = NOWHERE
        self.entry, self._reader = path.entry, path.rows(blocks)

    def read_into(self, data: np.ndarray, start: int) -> bool:
        """See payloads.Payload."""
        view, at, wanted = data.data.cast("B"), 0, []
        for place, length in self.pieces.ranges(start, len(data)):
            wanted.append((place, view[at : at + length]))
            at += length
        with _named():
            return self._reader.fill(wanted)

    def expect(self, start: int, count: int) -> None:
        """See payloads.Payload."""
        self._reader.expect(list(self.pieces.ranges(start, count)))

    def forget(self, start: int, count: int) -> None:
        """See payloads.Payload."""
        self._reader.forget(list(self.pieces.ranges(start, count)))
