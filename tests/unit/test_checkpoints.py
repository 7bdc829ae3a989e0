import multiprocessing
import os
import signal

import pytest
import torch

from frostline import checkpoints, files
from frostline.errors import Refused

OURS = {"contract": "a", "dataset": "b"}


def save(work, step, value=None):
    tensors = {"weights": torch.full((1000,), float(step if value is None else value))}
    return checkpoints.save(work, step, tensors, {"identity": OURS, "losses": [0.5]})


def test_the_newest_comes_back_and_two_are_kept(tmp_path):
    assert checkpoints.latest(tmp_path, OURS) is None
    for step in (10, 20, 100):
        save(tmp_path, step)
    tensors, state = checkpoints.latest(tmp_path, OURS) or ({}, {})
    assert tensors["weights"].eq(100).all()
    assert (state["step"], state["losses"]) == (100, [0.5])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000020", "step-00000100"]


def test_a_checkpoint_of_another_training_is_refused_with_the_differences(tmp_path):
    save(tmp_path, 10)
    with pytest.raises(Refused) as caught:
        checkpoints.latest(tmp_path, {**OURS, "contract": "z"})
    assert "contract: z (ours) against a (theirs)" in str(caught.value)
    assert "dataset" not in str(caught.value)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = save(tmp_path, 10) / checkpoints.TENSORS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(Refused, match="digest"):
        checkpoints.latest(tmp_path, OURS)


def _saves_for_ever(work, started):
    step = 0
    while True:
        step += 1
        save(work, step)
        started.set()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child starts no thread and asks for no lock
def test_a_kill_in_the_middle_of_writing_leaves_whole_checkpoints(tmp_path):
    spawn = multiprocessing.get_context("fork")
    for delay in (0.0, 0.002, 0.005, 0.011):
        started = spawn.Event()
        writer = spawn.Process(target=_saves_for_ever, args=(tmp_path, started))
        writer.start()
        assert started.wait(20)
        writer.join(delay)
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join(20)
        tensors, state = checkpoints.latest(tmp_path, OURS) or ({}, {})
        assert tensors["weights"].eq(state["step"]).all()


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    save(tmp_path, 10)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]
