import threading

import pytest

from frostline.caching import units
from frostline.caching.pool import Pool
from frostline.caching.units import Claims
from tests import tiny

IDS = [f"id-{number}" for number in range(10)]


@pytest.fixture
def pools(tmp_path):
    """The pool as two processes see it: each opens files of its own."""
    return Pool(tmp_path, tiny.space()), Pool(tmp_path, tiny.space())


def cut(pool):
    return units.cut(IDS, 4, "latents", pool)


def done(unit):
    unit.path.parent.mkdir(parents=True, exist_ok=True)
    unit.path.touch()


def test_units_cover_all_ids_and_are_the_same_for_everyone(pools):
    first, second = map(cut, pools)
    assert first == second
    assert [list(unit.places) for unit in first] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len({unit.path for unit in first}) == 3


def test_a_unit_is_claimed_by_one_and_skipped_by_the_other_until_it_is_done(pools):
    first, second = pools
    with Claims(cut(first), first) as mine, Claims(cut(second), second) as theirs:
        taken, claim = next(iter(mine))
        others = iter(theirs)
        seen = []
        for _ in range(2):
            unit, held = next(others)
            seen.append(unit)
            done(unit)
            held.close()
        assert taken not in seen
        assert len({taken.name, *(unit.name for unit in seen)}) == 3
        left = []
        waiting = threading.Thread(target=lambda: left.extend(others))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        done(taken)
        claim.close()
        waiting.join(10)
        assert left == []


def test_a_unit_that_another_gave_up_is_done_after_all(pools):
    first, second = pools
    with Claims(cut(first), first) as mine:
        taken, _ = next(iter(mine))
        with pools[1].claim(taken.name, wait=False) as got:
            assert not got
    with Claims(cut(second), second) as theirs:
        assert [unit.name for unit, _ in theirs] == [unit.name for unit in cut(second)]


def test_what_is_done_is_not_claimed(pools):
    pool, _ = pools
    for unit in cut(pool)[:2]:
        done(unit)
    with Claims(cut(pool), pool) as claims:
        assert [unit.name for unit, _ in claims] == [cut(pool)[2].name]
