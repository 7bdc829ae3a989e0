"""The expensive stages still make what they made at their revision."""

import signal

import pytest

from tests.golden import comparing, runs


@pytest.fixture(autouse=True)
def signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("stage", sorted(runs.RUNS))
def test_a_stage_makes_what_its_revision_made(stage):
    how = comparing.HOW.format(stage=stage)
    assert comparing.file(stage).exists(), f"{comparing.file(stage).name}: no such file. {how}"
    changed = comparing.changes(comparing.read(stage), runs.numbers(stage))
    assert not changed, "\n".join([f"the results of '{stage}' changed:", *changed, how])


def test_a_change_of_a_thousandth_is_seen_and_of_a_millionth_is_not():
    expected: runs.Numbers = {"losses": [1.0, 2.0], "id": "a"}
    assert not comparing.changes(expected, {"losses": [1.000001, 2.0], "id": "a"})
    assert comparing.changes(expected, {"losses": [1.001, 2.0], "id": "a"}) == ["losses: 0.00045 away, 0.0001 allowed"]
    assert comparing.changes(expected, {"losses": [1.0, 2.0], "id": "b"}) == ["id: inf away, 0.0001 allowed"]
    assert len(comparing.changes(expected, {"losses": [float("nan"), 2.0], "id": "a"})) == 1
    assert comparing.changes(expected, {"losses": [1.0, 2.0]}) == ["id: only in one of the two"]
