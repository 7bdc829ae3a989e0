"""Near-duplicates: exactly the pairs within the distance, whatever the way that finds them."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.sources import duplicates


def plain(hashes: np.ndarray, distance: int) -> list[int]:
    """Groups by comparing all with all."""
    groups = list(range(len(hashes)))
    for one, other in itertools.combinations(range(len(hashes)), 2):
        if max(int(a ^ b).bit_count() for a, b in zip(hashes[one], hashes[other], strict=True)) <= distance:
            first, last = sorted((groups[one], groups[other]))
            groups = [first if group == last else group for group in groups]
    return groups


def likenesses(n: int, k: int, seed: int) -> np.ndarray:
    """Hashes of which many are a few bits apart, and some equal."""
    drawn = np.random.default_rng(seed)
    hashes = drawn.integers(0, 2**64, (n, k), dtype=np.uint64)
    for copy in range(n // 2, n):
        hashes[copy] = hashes[copy - n // 2]
        for column in range(k):
            for bit in drawn.choice(64, drawn.integers(0, 18), replace=False):
                hashes[copy, column] ^= np.uint64(1) << np.uint64(bit)
    return drawn.permutation(hashes)


@pytest.mark.parametrize("distance", range(17))
@pytest.mark.parametrize("columns", [1, 3])
def test_groups_are_those_of_comparing_all_with_all(distance: int, columns: int):
    hashes = likenesses(60, columns, seed=distance)
    assert duplicates.of_hashes(hashes, distance).tolist() == plain(hashes, distance)


@pytest.mark.parametrize("equal", [0, 1, 2, 3])
@pytest.mark.parametrize("distance", [1, 4, 7, 16])
def test_every_plan_finds_the_same(monkeypatch: pytest.MonkeyPatch, equal: int, distance: int):
    hashes = likenesses(80, 1, seed=99)
    edges = [round(64 * number / (distance + equal)) for number in range(distance + equal + 1)]
    bands = [(1 << end) - (1 << start) for start, end in itertools.pairwise(edges)] if equal else []
    monkeypatch.setattr(duplicates, "_plan", lambda *_: (bands, equal))
    assert duplicates.of_hashes(hashes, distance).tolist() == plain(hashes, distance)


def test_many_equal_hashes_cost_nothing():
    hashes = np.full((100_000, 1), 0x0F0F0F0F0F0F, np.uint64)
    hashes[7] = 0
    started = time.process_time()
    groups = duplicates.of_hashes(hashes, 8)
    assert time.process_time() - started < 2
    assert np.flatnonzero(groups).tolist() == [7]


def test_a_crowd_within_reach_of_each_other_is_one_group_in_little_memory():
    drawn = np.random.default_rng(0)
    base = np.uint64(drawn.integers(0, 2**63))
    bits = drawn.integers(0, 60, (1000, 3)).astype(np.uint64)
    hashes = base ^ np.bitwise_or.reduce(np.uint64(1) << bits, axis=1)[:, None]
    assert set(duplicates.of_hashes(hashes, 6).tolist()) == {0}


def test_thousands_in_a_moment():
    hashes = likenesses(20_000, 1, seed=3)
    started = time.process_time()
    groups = duplicates.of_hashes(hashes, 8)
    assert time.process_time() - started < 3  # .1 s on a quiet machine
    assert 14_000 < len(np.unique(groups)) < 16_000


def test_none_and_one():
    assert duplicates.of_hashes(np.zeros((0, 1), np.uint64), 4).tolist() == []
    assert duplicates.of_hashes(np.zeros((1, 3), np.uint64), 4).tolist() == [0]


pairs = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(pairs)
def test_joined_connects_what_pairs_connect(given_pairs: list[tuple[int, int]]):
    one, other = (np.array(side, np.int64) for side in (zip(*given_pairs, strict=True) if given_pairs else ([], [])))
    groups = duplicates.joined(np.arange(20), one, other)
    expected = list(range(20))
    for a, b in given_pairs:
        first, last = sorted((expected[a], expected[b]))
        expected = [first if group == last else group for group in expected]
    assert groups.tolist() == expected


def test_keys_and_groups_together():
    keys = duplicates.of_keys(["film", "b", "film", "c", "d"])
    assert keys.tolist() == [0, 1, 0, 3, 4]
    near = np.array([0, 1, 2, 1, 4])
    assert duplicates.together(near, keys).tolist() == [0, 1, 0, 1, 4]
