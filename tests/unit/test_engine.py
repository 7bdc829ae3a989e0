import dataclasses
import os
import signal

import pytest
import torch

from frostline import engine, loading
from frostline.engine import Job
from frostline.errors import FrostlineError, Preempted, Refused
from tests import tiny


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

    def power_cut(*given):
        if len(list(tmp_path.glob("step-*"))) == 2:
            raise KeyboardInterrupt
        return job.objective(*given)

    with pytest.raises(KeyboardInterrupt):
        engine.run(dataclasses.replace(job, objective=power_cut))
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
