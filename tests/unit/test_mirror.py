"""Checkpoints in a real object store: whole there or not taken, and a training that goes on where its disk is not."""

import dataclasses
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from frostline import digests, engine, files, mirror, storage, trainings
from frostline.checkpoints import Checkpoints
from frostline.dataset import Dataset
from frostline.errors import Preempted, Refused, WrongUse
from frostline.mirror import Mirror
from frostline.params.trainings import KeepParams
from frostline.storage import Unreachable
from tests import tiny
from tests.object_store import Put, keys
from tests.relay import Relay
from tests.waiting import impatient

pytest_plugins = ["tests.servers"]

OURS = {"contract": "a", "dataset": "b"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny.data(tmp_path_factory.mktemp("mirror"))


@pytest.fixture
def there(bucket: str) -> Mirror:
    return Mirror(address=f"s3://{bucket}/kept/train-tiny/key")


def kept(work: Path, there: Mirror | None, identity: dict[str, str] = OURS, **changed: Any) -> Checkpoints:
    settings: dict[str, Any] = {"last": 2, "best": 0, "milestones": None, **changed}
    return Checkpoints(work, identity, KeepParams(**settings), mirror=there)


def save(checkpoints: Checkpoints, step: int, loss: float | None = None) -> None:
    tensors = {"network": {"weight": torch.full((1000,), float(step))}}
    checkpoints.save(step, tensors, {"losses": [0.5]}, loss=loss)


def restored(work: Path, there: Mirror | None, identity: dict[str, str] = OURS) -> tuple[int | None, torch.Tensor]:
    work.mkdir(exist_ok=True)
    tensor = torch.zeros(1000)
    state = kept(work, there, identity).restore({"network": {"weight": tensor}})
    return (state["step"] if state else None), tensor


def saved(work: Path, there: Mirror | None, *steps: int, **changed: Any) -> None:
    work.mkdir(exist_ok=True)
    checkpoints = kept(work, there, **changed)
    for step in steps:
        save(checkpoints, step)
    checkpoints.wait()


def test_an_address_is_that_of_a_training_s_key(tmp_path: Path):
    found = Mirror.of("s3://bucket/prefix", tmp_path / "train-teacher" / "key")
    assert found == Mirror(address="s3://bucket/prefix/train-teacher/key")
    assert Mirror.of(None, tmp_path) is None


def test_another_host_goes_on_from_the_newest(tmp_path: Path, there: Mirror):
    saved(tmp_path / "here", there, 10, 20, 30)
    assert there.names() == ["step-00000020", "step-00000030"]  # two are kept there too
    step, tensor = restored(tmp_path / "fresh", there)
    assert step == 30
    assert tensor.eq(30).all()
    assert [path.name for path in (tmp_path / "fresh").iterdir()] == ["step-00000030"]
    assert restored(tmp_path / "fresh", None)[0] == 30  # it is a checkpoint of this disk now


def test_nothing_there_is_nothing_to_go_on_from(tmp_path: Path, there: Mirror):
    assert restored(tmp_path / "fresh", there)[0] is None


def test_what_is_newer_on_the_disk_stays(tmp_path: Path, there: Mirror):
    saved(tmp_path / "here", there, 10)
    saved(tmp_path / "here", None, 20)
    step, tensor = restored(tmp_path / "here", there)
    assert (step, tensor[0].item()) == (20, 20)


def test_a_disk_that_was_left_behind_catches_up(tmp_path: Path, there: Mirror):
    saved(tmp_path / "one", there, 10)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    checkpoints = kept(tmp_path / "two", there)
    save(checkpoints, 20)
    save(checkpoints, 30)
    checkpoints.wait()
    assert restored(tmp_path / "one", there)[0] == 30


def test_the_best_and_the_milestones_stay_there_after_a_move(tmp_path: Path, there: Mirror):
    (tmp_path / "one").mkdir()
    checkpoints = kept(tmp_path / "one", there, last=1, best=1, milestones=20)
    for step, loss in {10: 0.1, 20: 0.5, 30: 0.6}.items():
        save(checkpoints, step, loss)
    checkpoints.wait()
    restored(tmp_path / "two", there)
    checkpoints = kept(tmp_path / "two", there, last=1, best=1, milestones=20)
    save(checkpoints, 40, 0.7)
    save(checkpoints, 50, 0.7)
    checkpoints.wait()
    assert there.names() == [f"step-000000{step}" for step in (10, 20, 40, 50)]


def test_half_of_a_checkpoint_is_none(tmp_path: Path, there: Mirror, bucket: str, monkeypatch: pytest.MonkeyPatch):
    saved(tmp_path / "one", there, 10)
    publish = storage.publish

    def killed(sending: Any, address: str, *, last: Any) -> None:
        publish(sending, address, last=dataclasses.replace(last, name="elsewhere"))  # all but its list arrive
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "publish", killed)
    checkpoints = kept(tmp_path / "one", there)
    save(checkpoints, 20)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.wait()
    assert any(key.startswith("kept/train-tiny/key/step-00000020/") for key in keys(bucket))
    assert restored(tmp_path / "fresh", there)[0] == 10


def test_what_was_half_brought_is_no_checkpoint(tmp_path: Path, there: Mirror, monkeypatch: pytest.MonkeyPatch):
    saved(tmp_path / "one", there, 10)
    copy = storage.copy

    def killed(entry: Any, path: Path) -> None:
        copy(entry, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(storage, "copy", killed)
        with pytest.raises(KeyboardInterrupt):
            restored(tmp_path / "two", there)
    assert not list((tmp_path / "two").glob("step-*"))
    assert restored(tmp_path / "two", there)[0] == 10


def test_damage_is_named_and_the_checkpoint_before_is_what_remains(
    tmp_path: Path, there: Mirror, bucket: str, put: Put
):
    saved(tmp_path / "one", there, 10, 20)
    [name] = [key for key in keys(bucket) if "step-00000020/" in key and key.endswith(".distcp")]
    put(name, b"other bytes")
    with pytest.raises(Refused, match=r"step-00000020/.*not the bytes that were sent; remove .*/step-00000020/"):
        restored(tmp_path / "two", there)
    storage.remove(f"s3://{bucket}/{name}")
    with pytest.raises(Refused, match="no such object"):
        restored(tmp_path / "three", there)
    there.forget({"step-00000020"})
    assert restored(tmp_path / "four", there)[0] == 10


def test_a_checkpoint_of_another_training_is_refused_before_it_is_brought(tmp_path: Path, there: Mirror):
    saved(tmp_path / "one", there, 10)
    with pytest.raises(Refused, match=r"s3://.*step-00000010: a checkpoint of another training: dataset: z \(ours\)"):
        restored(tmp_path / "two", there, {**OURS, "dataset": "z"})
    assert not list((tmp_path / "two").iterdir())


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, there: Mirror):
    saved(tmp_path / "one", there, 10)
    state = there.state("step-00000010")
    state["files"] = {"../outside": next(iter(state["files"].values()))}
    (tmp_path / "two").mkdir()
    with pytest.raises(Refused, match=r"'\.\./outside'.*somebody else wrote there"):
        there.bring("step-00000010", state, tmp_path / "two")
    assert not (tmp_path / "outside").exists()


def test_a_store_that_is_away_is_told_of_and_gets_the_next(
    tmp_path: Path, there: Mirror, relay: Relay, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "one").mkdir()
    checkpoints = kept(tmp_path / "one", there)
    save(checkpoints, 10)
    checkpoints.wait()
    relay.down()
    with impatient():
        save(checkpoints, 20)
        checkpoints.wait()
        assert "step-00000020 is on this disk and not sent" in capsys.readouterr().out
        with pytest.raises(Unreachable):
            restored(tmp_path / "two", there)  # nobody knows whether there is one: not from the start again
    relay.up()
    save(checkpoints, 30)
    checkpoints.wait()
    assert there.names() == ["step-00000010", "step-00000030"]


def test_a_bucket_that_is_not_there_ends_a_training_before_its_first_step(tmp_path: Path, s3: str):
    with pytest.raises(WrongUse, match="no such bucket"):
        restored(tmp_path / "work", Mirror(address="s3://nowhere/kept/train-tiny/key"))


def at(job: Any, step: int, action: Any) -> Any:
    """A job that does something in one of its steps."""
    calls = iter(range(1000))

    def objective(*given: Any) -> torch.Tensor:
        if given[0].training and next(calls) == step:
            action()
        return job.objective(*given)

    return dataclasses.replace(job, objective=objective)


def test_a_training_that_moves_to_another_host_comes_to_the_same_bytes(
    tmp_path: Path, rows: Dataset, there: Mirror, bucket: str
):
    often = {"checkpoint_every": 2, "validate_every": {"steps": 3}, "steps": 8}

    def job(name: str, mirror: Mirror | None) -> Any:
        (tmp_path / name).mkdir()
        return dataclasses.replace(tiny.job(tmp_path / name / "work", rows, **often), mirror=mirror)

    def published(name: str, job: Any) -> str:
        outcome = engine.run(job)
        folder = tmp_path / name / "model"
        trainings.publish(folder, job, outcome, stage="train@tiny", objective="flow_matching", base="base")
        return digests.of_folder(folder)

    whole = published("whole", job("whole", None))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted):  # a machine that is taken away, told before
        engine.run(at(job("one", there), 3, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert signal.getsignal(signal.SIGTERM) == before

    def power_cut() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # and one that is not
        engine.run(at(job("two", there), 3, power_cut))
    three = job("three", there)
    assert not (tmp_path / "three" / "work").exists()
    assert published("three", three) == whole
    assert not keys(bucket)  # nothing of it stays


def test_the_state_s_name_is_that_of_checkpoints(tmp_path: Path, there: Mirror):
    saved(tmp_path / "one", there, 10)
    assert files.read_json(tmp_path / "one" / "step-00000010" / mirror.STATE) == there.state("step-00000010")
