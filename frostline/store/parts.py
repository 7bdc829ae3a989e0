"""Tensor rows of several parts, numbered through."""

import bisect
from collections.abc import Sequence

import numpy as np

from frostline.store import payloads
from frostline.store.payloads import Payload

SAMPLED = 64  # of so many reads, one is compared with its digest; of those from a store all


class Parts:
    """Payloads in their order."""

    def __init__(self, found: Sequence[Payload]) -> None:
        self.payloads = list(found)
        self.first: list[int] = np.cumsum([0, *(payload.rows for payload in found)]).tolist()
        self._reads = 0

    def __len__(self) -> int:
        return self.first[-1]

    def place(self, row: int) -> tuple[int, int]:
        """The number of the part a row lies in, and the row's number there."""
        part = bisect.bisect_right(self.first, row) - 1
        return part, row - self.first[part]

    def read_into(self, data: np.ndarray, row: int, digest: np.ndarray) -> bool:
        """Fill uint8 (n, width) with rows of one part, which have one digest; gives True if the disk was waited for.

        Raises Refused if they are among those compared with their digest and differ.
        """
        part, start = self.place(row)
        payload = self.payloads[part]
        waited = payload.read_into(data, start)
        self._reads += 1
        if payload.is_far or self._reads % SAMPLED == 0:
            payloads.require(payload, start, data, digest)
        return waited

    def expect(self, row: int, count: int = 1) -> None:
        """Say that rows of one part will be read soon."""
        part, start = self.place(row)
        self.payloads[part].expect(start, count)
