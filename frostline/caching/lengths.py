"""How many tokens each text has: 20 bytes a text, and no text."""

import numpy as np

MOST = 64  # texts at most of which the first half of the digest is the same


class Lengths:
    """Takes the lengths of all texts, and then tells that of any."""

    def __init__(self, count: int) -> None:
        """``count`` of texts."""
        self._high, self._low = np.empty(count, np.uint64), np.empty(count, np.uint64)
        self._tokens, self._taken = np.empty(count, np.int32), 0

    def add(self, keys: np.ndarray, tokens: np.ndarray) -> None:
        """Take the lengths of texts; ``keys`` as store.keys has them, uint64 (n, 2)."""
        here = slice(self._taken, self._taken + len(keys))
        self._high[here], self._low[here], self._tokens[here] = keys[:, 0], keys[:, 1], tokens
        self._taken = here.stop

    def sort(self) -> None:
        """Get ready to be asked: all were taken."""
        order = np.argsort(self._high)
        for values in (self._high, self._low, self._tokens):
            values[:] = values[order]

    def of(self, keys: np.ndarray) -> np.ndarray:
        """The lengths of texts that were all taken before, int64 (n,)."""
        last = max(0, self._taken - 1)
        places = np.minimum(np.searchsorted(self._high, keys[:, 0]), last)
        for _ in range(MOST):
            wrong = (self._high[places] == keys[:, 0]) & (self._low[places] != keys[:, 1])
            if not wrong.any():
                break
            places[wrong] = np.minimum(places[wrong] + 1, last)
        if (self._low[places] != keys[:, 1]).any():
            raise AssertionError("a text whose length is asked for was never counted")
        return self._tokens[places].astype(np.int64)
