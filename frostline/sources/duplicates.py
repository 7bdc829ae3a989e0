"""Near-duplicates among many media: those whose perceptual hashes differ in few bits, and copies to the byte.

Images are compared with images, clips with clips by all the hashes of each. Who is near to whom is found exactly, not
by chance: of 64 bits cut into m bands, two hashes within d bits of each other are equal in m - d bands or more, so
each choice of m - d bands is sorted by, and only neighbours that are equal in it are compared. From about 12 bits on
that costs more than to compare all with all. 100,000 images: under a second up to 8 bits, some ten beyond 10.

Names:  n  media     k  hashes of each     d  distance in bits     groups  int64 (n,), the number of the group of each
A group is what near-duplicates connect; its number is that of its first member.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

BITS = 64
MOST_BANDS_EQUAL = 3
SORTED_BITS = 16  # keys of so many bits are sorted by counting
SORTING, COMPARING, TILING = 40, 12, 2  # nanoseconds for one to be sorted, a pair compared, a pair in a tile of pairs
AT_ONCE = 1 << 20  # pairs
TILE = (32, 8192)


def of_hashes(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Groups of uint64 (n, k): two are near where each of the k hashes differs in ``distance`` bits or fewer."""
    if len(hashes) == 0:
        return np.zeros(0, np.int64)
    distinct, members = _distinct(hashes)
    groups = np.arange(len(distinct))
    for one, other in _near(distinct, distance):
        groups = joined(groups, one, other)
    return _numbered_by_first(groups[members])


def of_keys(keys: Sequence[Hashable]) -> np.ndarray:
    """Groups of equal keys."""
    firsts: dict[Hashable, int] = {}
    return np.array([firsts.setdefault(key, number) for number, key in enumerate(keys)], np.int64)


def together(groups: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Groups of what is in one group of either kind."""
    return joined(groups, np.arange(len(others)), others)


def joined(groups: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The groups once ``one[i]`` and ``other[i]`` are in the same."""
    groups = groups.copy()
    while True:
        apart = groups[one] != groups[other]
        if not apart.any():
            return groups
        one, other = groups[one[apart]], groups[other[apart]]
        np.minimum.at(groups, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(shorter := groups[groups], groups):
            groups = shorter


def _distinct(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows, and which of them each row is."""
    order = np.lexsort(hashes.T)
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[order[1:]] != hashes[order[:-1]]).any(axis=1)
    members = np.empty(len(hashes), np.int64)
    members[order] = np.cumsum(new) - 1
    return hashes[order[new]], members


def _numbered_by_first(groups: np.ndarray) -> np.ndarray:
    _, firsts, members = np.unique(groups, return_index=True, return_inverse=True)
    return firsts[members.reshape(-1)]


def _near(hashes: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs within the distance, some of them several times, in portions."""
    near = _comparison(hashes, distance)
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    for one, other in _candidates(hashes[:, 0], distance):
        found = near(one, other)
        waiting.append((one[found], other[found]))
        if sum(len(one) for one, _ in waiting) > AT_ONCE:
            yield _all(waiting)
            waiting = []
    if waiting:
        yield _all(waiting)


def _candidates(hashes: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    bands, equal = _plan(len(hashes), distance)
    if not equal:
        yield from _all_with_all(hashes, distance)
        return
    for chosen in itertools.combinations(range(len(bands)), equal):
        yield from _neighbours(*_sorted_by(hashes, bands, chosen))


def _all_with_all(hashes: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    down, across = TILE
    for top in range(0, len(hashes), down):
        for left in range(top, len(hashes), across):
            tile = hashes[top : top + down, None] ^ hashes[None, left : left + across]
            one, other = np.nonzero(np.bitwise_count(tile) <= distance)
            yield one + top, other + left


def _plan(n: int, distance: int) -> tuple[list[int], int]:
    """The masks of the bands, and how many of them to sort by at once (none: compare all with all), least costly."""
    costs: dict[int, float] = {0: TILING * n * n / 2}
    for equal in range(1, MOST_BANDS_EQUAL + 1):
        bits = min(SORTED_BITS, equal * BITS / (distance + equal))
        costs[equal] = math.comb(distance + equal, equal) * (SORTING * n + COMPARING * n * n / 2 / 2**bits)
    equal = min(costs, key=lambda number: costs[number])
    edges = [round(BITS * number / (distance + equal)) for number in range(distance + equal + 1)] if equal else []
    return [(1 << end) - (1 << start) for start, end in itertools.pairwise(edges)], equal


def _comparison(hashes: np.ndarray, distance: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    columns = [np.ascontiguousarray(column) for column in hashes.T]

    def near(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        found = np.flatnonzero(np.bitwise_count(columns[0][one] ^ columns[0][other]) <= distance)
        for column in columns[1:]:
            found = found[np.bitwise_count(column[one[found]] ^ column[other[found]]) <= distance]
        return found

    return near


def _sorted_by(hashes: np.ndarray, bands: Sequence[int], chosen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """An order in which hashes that are equal in the chosen bands are neighbours, and their keys in that order.

    The key folds those bits to 16: others may have the same, which costs a comparison and nothing else.
    """
    mask = np.uint64(sum(bands[number] for number in chosen))
    folded = (hashes & mask) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(BITS - SORTED_BITS)
    keys = folded.astype(np.uint16)
    order = np.argsort(keys, kind="stable")
    return order, keys[order]


def _neighbours(order: np.ndarray, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of equal keys: first those side by side, then those two places apart, and so on."""
    at = np.arange(len(keys))
    for apart in range(1, len(keys)):
        at = at[: np.searchsorted(at, len(keys) - apart)]
        at = at[keys[at] == keys[at + apart]]
        if len(at) == 0:
            return
        yield order[at], order[at + apart]


def _all(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([one for one, _ in pairs]), np.concatenate([other for _, other in pairs])
