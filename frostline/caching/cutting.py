"""Rows in order, cut into parts where their own ids say so.

Rows that are added or taken away change the parts around them and no others (content-defined chunking: Muthitacharoen
et al., A Low-bandwidth Network File System, SOSP 2001). A part is about a 512th of the whole, so that little is written
again when little changes: from 1 MiB, where files would get too many, to 256 MiB.
"""

from collections.abc import Sequence

import numpy as np
import xxhash

SMALLEST, LARGEST = 1 << 20, 256 << 20  # bytes of a part as it is aimed at
SHARE = 512  # of the whole
LEEWAY = 4  # no part is more than this much larger or smaller than aimed at, but for the last


def aim(total: int) -> int:
    """Bytes of a part when the whole has so many: a power of four, so that it seldom changes as the whole grows."""
    size = SMALLEST
    while size < LARGEST and size * SHARE * 2 < total:
        size *= 4
    return size


def ends(ids: Sequence[str], sizes: np.ndarray) -> list[int]:
    """Where parts end: the number of the row after each part's last.

    ``ids`` of the rows in order, ``sizes`` int64 (n,) bytes of each. A row ends a part with a probability that grows
    with its size, drawn from its id alone.
    """
    if not len(ids):
        return []
    aimed = aim(int(sizes.sum()))
    draws = np.array([xxhash.xxh3_64_intdigest(one.encode()) for one in ids], np.uint64) / 2.0**64
    candidates = np.flatnonzero(draws < sizes / aimed) + 1
    reached = np.cumsum(sizes)
    found, start, before = [], 0, 0
    while start < len(ids):
        soonest = int(np.searchsorted(reached, before + aimed // LEEWAY)) + 1
        latest = max(start + 1, int(np.searchsorted(reached, before + aimed * LEEWAY, side="right")))
        later = int(np.searchsorted(candidates, soonest))
        end = int(candidates[later]) if later < len(candidates) else len(ids)
        start = min(end, latest, len(ids))
        before = int(reached[start - 1])
        found.append(start)
    return found
