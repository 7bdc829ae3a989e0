import random

import pyarrow as pa
import pytest

from frostline.caching import sorting
from frostline.caching.sorting import Sorter


def table(rows):
    return pa.table({"a": [a for a, _ in rows], "b": [b for _, b in rows], "c": [[b] for _, b in rows]})


ROWS = [(number % 7, f"{number:04d}") for number in range(1000)]


@pytest.mark.parametrize("together", [1, 50, 10_000])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_rows_come_back_in_order_whatever_is_held_at_a_time(tmp_path, monkeypatch, together, count):
    monkeypatch.setattr(sorting, "TOGETHER", together)
    shuffled = random.Random(0).sample(ROWS, len(ROWS))  # noqa: S311 - an order
    between = sorted(shuffled[:count])
    with Sorter(tmp_path, ["a", "b"], between) as sorter:
        for start in range(0, len(ROWS), 30):
            sorter.add(table(shuffled[start : start + 30]))
        found = pa.concat_tables(sorter.tables())
    assert [(row["a"], row["b"]) for row in found.to_pylist()] == sorted(ROWS)
    assert found["c"].to_pylist() == [[b] for _, b in sorted(ROWS)]
    assert not list(tmp_path.iterdir())


def test_stretches_are_of_about_the_size_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "STRETCH", 100)
    with Sorter(tmp_path, ["a", "b"], sorting.bounds(ROWS[::4], len(ROWS))) as sorter:
        sorter.add(table(ROWS))
        lengths = [len(one) for one in sorter.tables()]
    assert len(lengths) == 10
    assert max(lengths) < 150


def test_nothing_comes_of_nothing(tmp_path):
    with Sorter(tmp_path, ["a", "b"], sorting.bounds([], 0)) as sorter:
        assert list(sorter.tables()) == []


def test_digests_are_parted_evenly(monkeypatch):
    monkeypatch.setattr(sorting, "STRETCH", 100)
    assert sorting.even_bounds(400) == [("40000000",), ("80000000",), ("c0000000",)]
    assert sorting.even_bounds(0) == []
