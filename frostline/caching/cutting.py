"""Rows in order, cut into parts where their own ids say so, as they come.

Rows that are added or taken away change the parts around them and no others (content-defined chunking: Muthitacharoen
et al., A Low-bandwidth Network File System, SOSP 2001). A part is about a 512th of the whole, so that little is written
again when little changes: from 1 MiB, where files would get too many, to 256 MiB.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from frostline.caching import columns

SMALLEST, LARGEST = 1 << 20, 256 << 20  # bytes of a part as it is aimed at
SHARE = 512  # of the whole
LEEWAY = 4  # no part is more than this much larger or smaller than aimed at, but for the last


def aim(total: int) -> int:
    """Bytes of a part when the whole has so many: a power of four, so that it seldom changes as the whole grows."""
    size = SMALLEST
    while size < LARGEST and size * SHARE * 2 < total:
        size *= 4
    return size


def parts(
    tables: Iterable[pa.Table], key: str, sizes: Callable[[pa.Table], np.ndarray], total: int
) -> Iterator[pa.Table]:
    """Tables of rows in order as parts, each in one piece; what is held is a part and the table that ends it.

    ``key`` names the column with ids, ``sizes`` gives the bytes of each row, int64 (n,); ``total`` is their sum.
    """
    cutter, waiting = Cutter(total), list[pa.Table]()
    for table in tables:
        waiting.append(table)
        ends = cutter.ends(columns.draws(table[key]), sizes(table))
        if ends:
            whole = pa.concat_tables(waiting)
            yield from _slices(whole, ends)
            waiting = [whole.slice(ends[-1])]
    if waiting:
        yield from _slices(pa.concat_tables(waiting), cutter.last())


def _slices(whole: pa.Table, ends: Sequence[int]) -> Iterator[pa.Table]:
    for start, end in zip([0, *ends], ends, strict=False):
        yield whole.slice(start, end - start).combine_chunks()


class Cutter:
    """Finds where parts end. A row ends a part with a probability that grows with its size, drawn from its id alone."""

    def __init__(self, total: int) -> None:
        """``total`` bytes of all rows."""
        self._aimed = aim(total)
        self._draws, self._sizes = np.zeros(0), np.zeros(0, np.int64)

    def ends(self, draws: np.ndarray, sizes: np.ndarray) -> list[int]:
        """Take the next rows; gives the ends of parts that are certain: the number of the row after each one's last.

        Rows are counted from the end that was given last. ``draws`` float64 (n,) of their ids, from 0 to 1; ``sizes``
        int64 (n,) bytes of each.
        """
        self._draws, self._sizes = np.concatenate([self._draws, draws]), np.concatenate([self._sizes, sizes])
        return self._found(last=False)

    def last(self) -> list[int]:
        """The ends that are left when there are no more rows."""
        return self._found(last=True)

    def _found(self, *, last: bool) -> list[int]:
        candidates = np.flatnonzero(self._draws < self._sizes / self._aimed) + 1
        reached, count = np.cumsum(self._sizes), len(self._sizes)
        found, start, before = list[int](), 0, 0
        while start < count:
            soonest = int(np.searchsorted(reached, before + self._aimed // LEEWAY)) + 1
            latest = max(start + 1, int(np.searchsorted(reached, before + self._aimed * LEEWAY, side="right")))
            later = int(np.searchsorted(candidates, soonest))
            if later == len(candidates) and latest >= count and not last:
                break
            start = min(int(candidates[later]) if later < len(candidates) else count, latest, count)
            before = int(reached[start - 1])
            found.append(start)
        done = found[-1] if found else 0
        self._draws, self._sizes = self._draws[done:], self._sizes[done:]
        return found
