import json

import pytest
import torch

from frostline.progress import Progress


def taken(progress, steps, planned=2000, end=None):
    """Steps with two rows each: the loss at sigma .05 is 1, at .95 it is 3."""
    for step in range(steps):
        sigma = torch.tensor([0.05, 0.95], dtype=torch.float64)
        progress.take(torch.tensor([1.0, 3.0]), sigma, planned, last=step + 1 == end)
    return progress


def test_losses_are_told_apart_by_sigma():
    [point] = taken(Progress(), 100).by_sigma
    assert point["step"] == 100
    assert (point["0-0.1"], point["0.9-1"]) == (1.0, 3.0)
    assert [name for name, value in point.items() if value is None] == [f"0.{n}-0.{n + 1}" for n in range(1, 9)]


def test_the_curve_has_a_point_for_each_stretch_and_one_at_the_end():
    assert [point["step"] for point in taken(Progress(), 25, end=25).curve] == [10, 20, 25]
    assert all(point["loss"] == 2.0 for point in taken(Progress(), 25).curve)


def test_pure_noise_is_in_the_last_bin():
    progress = Progress()
    progress.take(torch.tensor([5.0]), torch.tensor([1.0], dtype=torch.float64), 10, last=True)
    assert progress.by_sigma[0]["0.9-1"] == 5.0


def test_it_comes_back_from_json_as_it_was():
    progress = taken(Progress(), 13)
    progress.skip(last=False)
    progress.validated({"a": 0.1})
    assert Progress.of(json.loads(json.dumps({**progress.state(), "identity": {}}))) == progress


def test_a_step_that_is_left_out_counts_and_moves_no_mean():
    progress = taken(Progress(), 9)
    progress.skip(last=False)
    assert (progress.step, progress.skipped) == (10, [9])
    assert taken(progress, 10).curve == [{"step": 20, "loss": 2.0}]


@pytest.mark.parametrize(("losses", "best"), [([1.0, 2.0], [True, False]), ([2.0, 1.0, 1.0], [True, True, False])])
def test_the_lowest_validation_is_known(losses, best):
    progress = Progress()
    assert [progress.validated({"a": loss, "b": 1.0}) for loss in losses] == best


def test_the_loss_is_known_from_the_first_step_on():
    progress = Progress()
    assert progress.loss is None
    assert taken(progress, 1).loss == 2.0
    assert taken(progress, 9).curve
    assert (progress.losses, progress.loss) == ([], 2.0)
    assert taken(progress, 3, planned=100_000).loss == 2.0
