import numpy as np
import pyarrow as pa
import pytest

from frostline.caching import cutting

MEGABYTE = 1 << 20


def parts(ids, width=4096, at_once=1 << 20):
    """The ids of each part, when so many rows come at a time."""
    column = pa.array(ids, pa.string())
    tables = [pa.table({"id": column[start : start + at_once]}) for start in range(0, len(ids), at_once)]
    cut = cutting.parts(tables, "id", lambda table: np.full(len(table), width), len(ids) * width)
    return [tuple(part["id"].to_pylist()) for part in cut]


def ids(count, prefix="row"):
    return [f"{prefix}-{number:07d}" for number in range(count)]


def test_every_row_is_in_one_part_in_order():
    assert [one for part in parts(ids(5000)) for one in part] == ids(5000)
    assert parts([]) == []
    assert parts(["only"], width=1) == [("only",)]


@pytest.mark.parametrize("at_once", [1, 7, 1000, 8192])
@pytest.mark.parametrize("width", [4096, 200_000, 8 * MEGABYTE])
def test_parts_are_the_same_however_many_rows_come_at_a_time(at_once, width):
    assert parts(ids(3000), width, at_once) == parts(ids(3000), width)


def test_parts_are_of_about_the_size_aimed_at():
    sizes = [len(part) * 4096 for part in parts(ids(50_000))]
    assert all(MEGABYTE / 4 <= size <= MEGABYTE * 4 for size in sizes[:-1])
    assert MEGABYTE / 2 < np.mean(sizes) < MEGABYTE * 2


def test_rows_larger_than_a_part_are_parts_of_their_own():
    assert [len(part) for part in parts(ids(5), width=8 * MEGABYTE)] == [1] * 5


@pytest.mark.parametrize("place", [0, 1234, 49_999])
def test_rows_put_in_or_taken_away_change_the_parts_around_them_alone(place):
    before = parts(ids(50_000))
    more = ids(50_000)
    more[place:place] = ids(500, prefix="new")
    after = parts(more)
    assert sum(len(part) for part in set(after) - set(before)) <= 500 + 4 * 256 * 4
    assert len(set(before) - set(after)) <= 4


def test_the_size_aimed_at_grows_with_the_whole_in_few_steps_and_not_for_ever():
    sizes = [cutting.aim(1 << power) for power in range(20, 50)]
    assert sizes == sorted(sizes)
    assert set(sizes) == {MEGABYTE << power for power in (0, 2, 4, 6, 8)}
    assert cutting.aim(1 << 36) <= (1 << 36) // 256
