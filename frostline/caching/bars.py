"""Progress bars that are not seen before there is something to do."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tqdm


class Bar:
    """Counts what is done of so many; what was there already counts as done, and shows nothing by itself."""

    def __init__(self, total: int, doing: str, unit: str) -> None:
        self._total, self._doing, self._unit = total, doing, unit
        self._done = 0
        self._shown: Any = None

    def add(self, count: int) -> None:
        """So many were done now."""
        if self._shown is None:
            self._shown = tqdm.tqdm(
                total=self._total, initial=self._done, desc=self._doing, unit=self._unit, mininterval=2.0
            )
        self._done += count
        self._shown.update(count)

    def reach(self, done: int) -> None:
        """So many are done in all, some without work."""
        if self._shown is not None:
            self._shown.update(done - self._done)
        self._done = done

    def close(self) -> None:
        """There is no more."""
        if self._shown is not None:
            self._shown.close()


@contextlib.contextmanager
def bar(total: int, doing: str, unit: str) -> Iterator[Bar]:
    """A bar that is closed at the end."""
    with contextlib.closing(Bar(total, doing, unit)) as one:
        yield one
