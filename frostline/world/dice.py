"""Even draws from a key of integers, the same for ever.

They are made of the raw 64-bit words of numpy's PCG64, whose stream is fixed; those of numpy's distributions are not.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """Draws that follow from a key; each draw moves on to the next. A key may not be another with zeros behind it."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(key)

    def below(self, count: int) -> int:
        """An integer from 0 to count - 1."""
        return int(self._bits.random_raw()) % count

    def one_of(self, options: Sequence[T]) -> T:
        """One of them."""
        return options[self.below(len(options))]

    def several_of(self, options: Sequence[T], count: int) -> list[T]:
        """Different ones, in any order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def points(self, count: int) -> np.ndarray:
        """Points of the unit square: (count, 2)."""
        words = np.asarray(self._bits.random_raw(2 * count), dtype=np.uint64)
        return ((words >> np.uint64(11)) / 2.0**53).reshape(count, 2)
