"""Tensor rows of several parts, numbered through, and reading stretches of them.

Where all that is wanted lies is worked out before the first byte is read, and with little: each read fills the
processor's caches with what it copies, so whatever Python does after it is slow, and what it does for the first time
after it (each function of numpy or torch) many times as slow.
"""

import bisect
import os
from collections.abc import Iterable, Sequence

import numpy as np

from frostline.store import keys, payloads
from frostline.store.payloads import Payload, Tensors
from frostline.store.pieces import NOWHERE

SAMPLED = 256  # of so many reads, one is compared with its digest: that takes twice its time; of those from a store all

Stretch = tuple[int, int, int, "Parts", int, int]
"""Rows that lie one after another and have one digest, a latent or the tokens of a text: how many bytes; the file in
which the system reads them in one piece, or NOWHERE, and the byte they begin at there; their parts, the first row
there, and the number of the digest. Records take several times as long to make, and two are made for each row."""


class Parts:
    """Payloads in their order, and the digests of the stretches in them."""

    def __init__(self, found: Sequence[Payload], digests: np.ndarray) -> None:
        """``digests`` as store.keys has them, (n, 2)."""
        self.payloads, self._digests = list(found), digests
        self.first: list[int] = np.cumsum([0, *(payload.rows for payload in found)]).tolist()
        self._begins: list[int] = []  # of each piece: its first row,
        self._places: list[int] = []  # the byte it begins at,
        self._files: list[int] = []
        self._widths: list[int] = []  # and the bytes of a row
        for first, payload in zip(self.first, found, strict=False):
            pieces, count = payload.pieces, len(payload.pieces.places)
            self._begins += [first + row for row in pieces.first[:count]]
            self._places += pieces.places
            self._files += [payload.file] * count
            self._widths += [pieces.width] * count
        self._ends = [*self._begins[1:], len(self)]

    def __len__(self) -> int:
        return self.first[-1]

    def part(self, row: int) -> int:
        """The number of the part a row lies in."""
        return bisect.bisect_right(self.first, row) - 1

    def tensors(self, row: int) -> Tensors:
        """What a row is."""
        return self._payload(row)[0].tensors

    def stretch(self, row: int, count: int, number: int) -> Stretch:
        """Rows from one on, which have the digest of this number."""
        piece = bisect.bisect_right(self._begins, row) - 1
        width = self._widths[piece]
        place = self._places[piece] + (row - self._begins[piece]) * width
        file = self._files[piece] if row + count <= self._ends[piece] else NOWHERE
        return count * width, file, place, self, row, number

    def fill(self, data: memoryview, row: int, number: int) -> bool:
        """Read a stretch in whatever way its part is read; gives True if the disk, or a store, was waited for."""
        payload, start = self._payload(row)
        rows = _rows(data, payload)
        waited = payload.read_into(rows, start)
        if payload.is_far:
            payloads.require(payload, start, rows, self._digests[number])
        return waited

    def require(self, data: memoryview, row: int, number: int) -> None:
        """Raise Refused unless the bytes of a stretch are what their digest says."""
        if not keys.is_of(self._digests[number], data):
            payload, start = self._payload(row)
            payloads.require(payload, start, _rows(data, payload), self._digests[number])

    def expect(self, size: int, row: int) -> None:
        """Say that bytes of rows of one part will be read soon."""
        payload, start = self._payload(row)
        payload.expect(start, size // payload.pieces.width)

    def _payload(self, row: int) -> tuple[Payload, int]:
        part = self.part(row)
        return self.payloads[part], row - self.first[part]


class Reader:
    """Reads stretches, and compares some of them with their digests."""

    def __init__(self) -> None:
        self._reads = 0

    def read(self, wanted: Sequence[Stretch]) -> np.ndarray:
        """The bytes of stretches one after another, uint8 (n,); see ``fill``."""
        data = np.empty(sum(size for size, *_ in wanted), np.uint8)
        self.fill(data.data, wanted)
        return data

    def fill(self, data: memoryview, wanted: Sequence[Stretch]) -> int:
        """Fill bytes with stretches one after another; gives for how many of them the disk had to be waited for.

        Raises Refused if one is not whole, or is compared with its digest and differs.
        """
        waited, end, reads, told = 0, 0, self._reads, False
        for size, file, place, parts, row, number in wanted:
            view, end, reads = data[end : end + size], end + size, reads + 1
            try:
                whole = os.preadv(file, [view], place, os.RWF_NOWAIT) == size
            except OSError:  # not in memory, not in one piece, or not to be read at all: what follows finds out
                whole = False
            if not whole:
                if not told:  # what is in a store comes at once
                    expect(stretch for stretch in wanted if stretch[1] == NOWHERE)
                    told = True
                waited += parts.fill(view, row, number)
            if not reads % SAMPLED:
                parts.require(view, row, number)
        self._reads = reads
        return waited


def expect(wanted: Iterable[Stretch]) -> None:
    """Say that stretches will be read soon."""
    for size, _, _, parts, row, _ in wanted:
        parts.expect(size, row)


def _rows(data: memoryview, payload: Payload) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(-1, payload.pieces.width)
