import threading
from typing import Any

import pytest
import torch

from frostline import files
from frostline.checkpoints import Checkpoints
from frostline.errors import Refused
from frostline.params.trainings import KeepParams
from frostline.processes import ALONE
from tests import processes
from tests.waiting import SECONDS, until

OURS = {"contract": "a", "dataset": "b"}


def kept(work, identity=OURS, **changed):
    settings: dict[str, Any] = {"last": 2, "best": 0, "milestones": None, **changed}
    return Checkpoints(work, identity, KeepParams(**settings), ALONE)


def save(work, step, loss=None, **changed):
    tensors = {"network": {"weight": torch.full((1000,), float(step))}, "average": {"weight": torch.ones(3)}}
    checkpoints = kept(work, **changed)
    checkpoints.save(step, tensors, {"losses": [0.5]}, loss=loss)
    checkpoints.wait()


def restored(work, identity=OURS):
    """What the newest checkpoint holds: its state, empty if there is none, and one of its tensors."""
    tensor = torch.zeros(1000)
    state = kept(work, identity).restore({"network": {"weight": tensor}})
    return state or {}, tensor


def names(work):
    return sorted(path.name for path in work.iterdir())


def test_the_newest_comes_back_and_two_are_kept(tmp_path):
    assert not restored(tmp_path)[0]
    assert kept(tmp_path).newest is None
    for step in (10, 20, 100):
        save(tmp_path, step)
    state, tensor = restored(tmp_path)
    assert tensor.eq(100).all()
    assert (state["step"], state["losses"]) == (100, [0.5])
    assert names(tmp_path) == ["step-00000020", "step-00000100"]
    assert kept(tmp_path).newest == tmp_path / "step-00000100"


def test_the_best_and_the_milestones_are_kept_beside_the_newest(tmp_path):
    losses = {10: 0.9, 20: 0.5, 30: None, 40: 0.7, 50: None, 60: 0.6}
    for step, loss in losses.items():
        save(tmp_path, step, loss, last=1, best=2, milestones=30)
    assert names(tmp_path) == ["step-00000020", "step-00000030", "step-00000060"]


def test_what_was_not_whole_is_nobody_s_checkpoint(tmp_path):
    save(tmp_path, 10)
    (tmp_path / ".step-00000020").mkdir()
    (tmp_path / ".step-00000020" / "half").write_text("half")
    assert restored(tmp_path)[0]["step"] == 10
    save(tmp_path, 20)
    assert not (tmp_path / "step-00000020" / "half").exists()


def test_a_checkpoint_of_another_training_is_refused_with_the_differences(tmp_path):
    save(tmp_path, 10)
    with pytest.raises(Refused) as caught:
        restored(tmp_path, {**OURS, "contract": "z"})
    assert "contract: z (ours) against a (theirs)" in str(caught.value)
    assert "dataset" not in str(caught.value)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    save(tmp_path, 10)
    for path in sorted((tmp_path / "step-00000010").iterdir()):
        if path.name == "state.json":
            continue
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(Refused, match="digest"):
            restored(tmp_path)
        path.write_bytes(whole)
    assert restored(tmp_path)[0]["step"] == 10


def _saves_for_ever(work):
    step = 0
    while True:
        step += 1
        save(work, step)


def test_a_kill_in_the_middle_of_writing_leaves_whole_checkpoints(tmp_path):
    for delay in (0.0, 0.002, 0.005, 0.011):
        work = tmp_path / str(delay)
        writer = processes.start(_saves_for_ever, work)
        until(lambda work=work: list(work.glob("step-*")))
        writer.join(delay)
        writer.kill()
        writer.join(SECONDS)
        state, tensor = restored(work)
        assert tensor.eq(state["step"]).all()


def test_what_changes_after_it_was_saved_is_saved_as_it_was(tmp_path, monkeypatch):
    begun, told = threading.Event(), threading.Event()
    write = Checkpoints._write

    def held(self, *given):
        begun.set()
        told.wait(SECONDS)
        write(self, *given)

    monkeypatch.setattr(Checkpoints, "_write", held)
    checkpoints, tensor = kept(tmp_path), torch.ones(1000)
    checkpoints.save(10, {"network": {"weight": tensor}}, {"losses": [0.5]}, loss=None)
    assert begun.wait(SECONDS)  # it is not written yet, and steps go on
    tensor.fill_(2.0)
    assert not names(tmp_path) or names(tmp_path) == [".step-00000010"]
    told.set()
    checkpoints.wait()
    assert restored(tmp_path)[1].eq(1).all()


def test_closing_waits_for_what_is_written(tmp_path):
    checkpoints = kept(tmp_path)
    checkpoints.save(10, {"network": {"weight": torch.ones(1000)}}, {"losses": [0.5]}, loss=None)
    checkpoints.close()
    assert names(tmp_path) == ["step-00000010"]


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    save(tmp_path, 10)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(Refused, match=r"step-00000020.*: cannot be written: No space"):
        save(tmp_path, 20)
    assert restored(tmp_path)[0]["step"] == 10
