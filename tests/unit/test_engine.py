import dataclasses
import os
import signal
from typing import Any

import pytest
import torch
import tqdm

from frostline import engine, loading, speed
from frostline.errors import FrostlineError, Preempted, Refused, WrongUse
from frostline.job import Job
from tests import tiny

COMPUTE = {"dtype": "auto", "accumulate": 1, "recompute": False, "compile": False}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return tiny.data(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def whole(rows, tmp_path_factory):
    """The uninterrupted training."""
    return engine.run(tiny.job(tmp_path_factory.mktemp("work"), rows))


@pytest.fixture(autouse=True)
def signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def same(one, other):
    theirs = other.network.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.network.state_dict().items())


def stopped_at(job: Job, step: int) -> Job:
    """A job that is told to stop while it does a step."""
    calls = iter(range(1000))

    def objective(*given):
        if given[0].training and next(calls) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return job.objective(*given)

    return dataclasses.replace(job, objective=objective)


@pytest.mark.parametrize("step", [0, 2, 4])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(rows, whole, tmp_path, step):
    with pytest.raises(Preempted, match=str(tmp_path)):
        engine.run(stopped_at(tiny.job(tmp_path, rows), step))
    assert [path.name for path in tmp_path.glob("step-*")] == [f"step-{step + 1:08d}"]
    again = engine.run(tiny.job(tmp_path, rows))
    assert same(again, whole)
    assert again.progress == whole.progress


def test_a_training_that_was_killed_goes_on_from_its_checkpoint_to_the_same_bits(rows, whole, tmp_path):
    job = tiny.job(tmp_path, rows, checkpoint_every=2)
    calls = iter(range(1000))

    def power_cut(*given):
        if given[0].training and next(calls) == 5:
            raise KeyboardInterrupt
        return job.objective(*given)

    with pytest.raises(KeyboardInterrupt):
        engine.run(dataclasses.replace(job, objective=power_cut))
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000002", "step-00000004"]
    again = engine.run(job)
    assert same(again, whole)
    assert again.progress == whole.progress


@pytest.mark.parametrize(
    "changed", [{"validate_every": {"steps": 1}}, {"validate_every": {"epochs": 1}}, {"checkpoint_every": 1}]
)
def test_looking_at_a_training_does_not_change_it(rows, whole, tmp_path, changed):
    looked_at = engine.run(tiny.job(tmp_path, rows, **changed))
    assert same(looked_at, whole)
    assert looked_at.progress.curve == whole.progress.curve
    if changed == {"validate_every": {"steps": 1}}:
        assert [point["step"] for point in looked_at.progress.validation] == [1, 2, 3, 4, 5, 6]
        assert len(list((tmp_path / "preview").iterdir())) == 6
    assert looked_at.progress.validation[-1] == whole.progress.validation[-1]


def test_validation_in_epochs(rows, tmp_path):
    outcome = engine.run(tiny.job(tmp_path, rows, validate_every={"epochs": 1}))
    assert [point["step"] for point in outcome.progress.validation] == [5, 6]  # 15 rows, 3 a step on average


def test_another_seed_is_another_training(rows, whole, tmp_path):
    assert not same(engine.run(tiny.job(tmp_path, rows, seed=1)), whole)


def test_the_global_random_state_stays_where_it_was(rows, tmp_path):
    before = torch.random.get_rng_state()
    engine.run(tiny.job(tmp_path, rows))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_training_may_end_early(rows, tmp_path):
    outcome = engine.run(tiny.job(tmp_path, rows, stop_at=2))
    assert outcome.progress.step == 2
    assert outcome.progress.validation[-1]["step"] == 2


def test_a_loss_that_is_no_number_is_named_with_its_rows(rows, tmp_path):
    job = tiny.job(tmp_path, rows)

    def broken(*given):
        return job.objective(*given) * float("nan")

    with pytest.raises(FrostlineError, match=r"loss of step 0 is nan; its rows are \['.*x16x16"):
        engine.run(dataclasses.replace(job, objective=broken))
    assert not list(tmp_path.glob("step-*"))


def test_a_checkpoint_of_another_training_is_refused(rows, tmp_path):
    job = tiny.job(tmp_path, rows, checkpoint_every=1)
    engine.run(job)
    with pytest.raises(Refused, match="dataset: other"):
        engine.run(dataclasses.replace(job, identity={**job.identity, "dataset": "other"}))


def test_a_step_of_another_dataset_is_refused_whatever_else_a_job_is_known_by(rows, tmp_path):
    work, nothing = tmp_path / "work", {}
    engine.run(dataclasses.replace(tiny.job(work, rows, checkpoint_every=1), identity=nothing))
    other = tiny.data(tmp_path / "other", seed=5)
    with pytest.raises(Refused, match=rf"dataset: {other.digest} \(ours\) against {rows.digest} \(theirs\)"):
        engine.run(dataclasses.replace(tiny.job(work, other), identity=nothing))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # readers compute nothing, and ask for no lock
def test_a_training_with_readers_comes_to_the_same_bits(rows, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "SMALL", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert same(engine.run(tiny.job(tmp_path, rows)), whole)


def test_training_lowers_the_loss(rows, tmp_path):
    outcome = engine.run(tiny.job(tmp_path, rows, steps=60, caption_dropout=0.0, validate_every={"steps": 30}))
    curve = [point["loss"] for point in outcome.progress.curve]
    assert len(curve) == 60
    assert sum(curve[-10:]) < 0.9 * sum(curve[:10])


def broken_at(job, steps, *, gradient=False):
    """A job whose loss, or its gradient alone, is no number at some steps."""
    calls = iter(range(1000))

    def objective(*given):
        losses = job.objective(*given)
        if not given[0].training or next(calls) not in steps:
            return losses
        if gradient:
            losses.register_hook(lambda found: found * float("nan"))
            return losses
        return losses * float("nan")

    return dataclasses.replace(job, objective=objective)


@pytest.mark.parametrize("gradient", [False, True])
def test_batches_that_are_no_numbers_may_be_left_out_and_are_counted(rows, whole, tmp_path, gradient):
    job = tiny.job(tmp_path, rows, skip_nonfinite=2)
    outcome = engine.run(broken_at(job, {1, 3}, gradient=gradient))
    assert outcome.progress.skipped == [1, 3]
    assert outcome.progress.step == 6
    assert not same(outcome, whole)
    assert all(torch.isfinite(tensor).all() for tensor in outcome.network.state_dict().values())


def test_one_more_than_may_be_left_out_ends_it_with_the_last_good_checkpoint(rows, tmp_path):
    job = tiny.job(tmp_path, rows, skip_nonfinite=1, checkpoint_every=2)
    with pytest.raises(FrostlineError, match=r"loss of step 4 is nan.*last good checkpoint is .*step-00000004"):
        engine.run(broken_at(job, {1, 4}))


def test_skipped_steps_are_remembered_over_a_stop(rows, tmp_path):
    job = tiny.job(tmp_path / "one", rows, skip_nonfinite=1)
    straight = engine.run(broken_at(job, {1}))
    job = tiny.job(tmp_path / "two", rows, skip_nonfinite=1)
    with pytest.raises(Preempted):
        engine.run(stopped_at(broken_at(job, {1}), 3))
    again = engine.run(job)
    assert again.progress == straight.progress
    assert same(again, straight)


def test_a_step_in_parts_is_the_same_step(rows, whole, tmp_path):
    parts = tiny.job(tmp_path, rows, compute={**COMPUTE, "accumulate": 2})
    found = engine.run(parts).network.state_dict()
    for name, tensor in whole.network.state_dict().items():
        assert torch.allclose(tensor, found[name], atol=1e-4), name


def test_a_batch_that_parts_do_not_divide_is_refused(rows, tmp_path):
    with pytest.raises(WrongUse, match=r"buckets.1x16x16.batch is 4: .* use a multiple of 3"):
        engine.run(tiny.job(tmp_path, rows, compute={**COMPUTE, "accumulate": 3}))


def test_making_activations_again_changes_no_bit(rows, whole, tmp_path):
    assert same(engine.run(tiny.job(tmp_path, rows, compute={**COMPUTE, "recompute": True})), whole)


def test_the_best_checkpoint_is_saved_when_it_is_found(rows, tmp_path):
    keep = {"last": 1, "best": 1, "milestones": 4}
    outcome = engine.run(tiny.job(tmp_path, rows, keep=keep, validate_every={"steps": 3}, checkpoint_every=2))
    assert [point["step"] for point in outcome.progress.validation] == [3, 6]
    kept = sorted(int(path.name[5:]) for path in tmp_path.glob("step-*"))
    assert {4, 6} <= set(kept)
    assert 3 in kept or outcome.progress.validation[1]["1x16x16"] < outcome.progress.validation[0]["1x16x16"]


def test_keeping_checkpoints_changes_no_bit(rows, whole, tmp_path):
    keep = {"last": 1, "best": 2, "milestones": 1}
    outcome = engine.run(tiny.job(tmp_path, rows, keep=keep, validate_every={"steps": 1}, checkpoint_every=1))
    assert same(outcome, whole)


def test_adamw_alone_trains_as_well(rows, whole, tmp_path):
    optimizer = {**tiny.train_params().optimizer.model_dump(), "muon_rate": None}
    assert not same(engine.run(tiny.job(tmp_path, rows, optimizer=optimizer)), whole)


def test_memory_that_does_not_suffice_is_explained(rows, tmp_path):
    def large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB. of which 1.00 GiB is free.")

    with pytest.raises(FrostlineError, match=r"out of memory by 2.00 GiB .*compute.accumulate"):
        engine.run(dataclasses.replace(tiny.job(tmp_path, rows), objective=large))


def test_the_loss_and_the_rates_are_shown_long_before_the_curve_has_a_point(tmp_path, rows, monkeypatch):
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(speed, "LOOKS", 0.0)
    monkeypatch.setattr(tqdm.tqdm, "set_postfix", lambda _, values, refresh: shown.append(values))
    made = engine.run(tiny.job(tmp_path / "work", rows, steps=4000, stop_at=6, validate_every={"steps": 4000}))
    assert [point["step"] for point in made.progress.curve] == [6]
    assert len(shown) == 6
    assert all({"loss", "samples/s", "tokens/s"} <= set(one) for one in shown)
