"""Tensor rows of several parts, numbered through."""

import bisect
from collections.abc import Sequence

import numpy as np

from frostline.store.payloads import Payload


class Parts:
    """Payloads in their order."""

    def __init__(self, payloads: Sequence[Payload]) -> None:
        self.payloads = list(payloads)
        self.first: list[int] = np.cumsum([0, *(payload.rows for payload in payloads)]).tolist()

    def __len__(self) -> int:
        return self.first[-1]

    def place(self, row: int) -> tuple[int, int]:
        """The number of the part a row lies in, and the row's number there."""
        part = bisect.bisect_right(self.first, row) - 1
        return part, row - self.first[part]

    def read_into(self, data: np.ndarray, row: int) -> None:
        """Fill uint8 (n, width) with rows of one part."""
        part, start = self.place(row)
        self.payloads[part].read_into(data, start)

    def expect(self, row: int, count: int = 1) -> None:
        """Say that rows of one part will be read soon."""
        part, start = self.place(row)
        self.payloads[part].expect(start, count)
