"""Splits: a function of seed and key, in the asked shares."""

import collections

import numpy as np
import pytest

from frostline.params.sources import SplitParams
from frostline.sources import splits


def shares(seed: int, validation: float, test: float) -> SplitParams:
    return SplitParams(seed=seed, validation=validation, test=test)


def test_shares_are_met():
    counts = collections.Counter(splits.of(f"item {n}", shares(0, 0.1, 0.2)) for n in range(5000))
    assert counts["validation"] == pytest.approx(500, abs=90)  # four standard deviations
    assert counts["test"] == pytest.approx(1000, abs=120)
    assert counts["train"] == pytest.approx(3500, abs=140)


def test_a_key_stays_and_a_seed_deals_anew():
    names = [f"item {n}" for n in range(200)]
    once = [splits.of(name, shares(0, 0.2, 0.2)) for name in names]
    assert once == [splits.of(name, shares(0, 0.2, 0.2)) for name in names]
    assert once != [splits.of(name, shares(1, 0.2, 0.2)) for name in names]


def test_more_held_out_moves_nothing_out_of_test():
    names = [f"item {n}" for n in range(500)]
    before = {name for name in names if splits.of(name, shares(0, 0.0, 0.1)) == "test"}
    assert before <= {name for name in names if splits.of(name, shares(0, 0.1, 0.2)) == "test"}


def test_nothing_held_out():
    assert {splits.of(str(n), shares(0, 0.0, 0.0)) for n in range(100)} == {"train"}


def test_a_group_is_where_its_smallest_key_is():
    keys = [f"item {n}" for n in range(300)]
    groups = np.arange(300) // 3 * 3
    dealt = splits.of_groups(keys, groups, shares(0, 0.2, 0.2))
    assert [set(dealt[n : n + 3]) for n in range(0, 300, 3)] == [
        {splits.of(min(keys[n : n + 3]), shares(0, 0.2, 0.2))} for n in range(0, 300, 3)
    ]
    order = np.random.default_rng(0).permutation(300)
    again = splits.of_groups([keys[n] for n in order], groups[order], shares(0, 0.2, 0.2))
    assert again == [dealt[n] for n in order]
