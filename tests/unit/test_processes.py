"""Several processes that train one model, started as a stage starts them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from benchmarks.parts import member
from frostline import processes
from frostline.errors import WrongUse
from frostline.params.trainings import LaunchParams
from frostline.processes import ALONE
from tests import tiny

ROOT = Path(__file__).parents[2]
ONE: dict[str, Any] = {"device": "cpu", "nodes": 1, "gpus_per_node": 1, "rendezvous": None}


def order(folder: Path, name: str, count: int, **changed) -> Path:
    """What a program is to train, in so many processes."""
    params = tiny.train_params(**changed).model_dump(mode="json", exclude={"validate_every": {"epochs"}})
    facts = {
        "index": str(folder / "latents.json"),
        "latents": str(folder / "latents"),
        "params": params,
        "launch": {**ONE, "gpus_per_node": count},
        "work": str(folder / name),
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(facts))
    return path


def started(path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.parts.member", str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_train_on_the_same_rows_to_the_same_weights_and_stop_together(tmp_path):
    tiny.data(tmp_path)
    alone, two = order(tmp_path, "alone", 1), order(tmp_path, "two", 2)
    one = started(alone)
    both = started(two)
    for process in (one, both):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    work = tmp_path / "two"
    whole = json.loads((tmp_path / "alone" / f"0-{member.ROWS}").read_text())
    shares = [json.loads((work / f"{rank}-{member.ROWS}").read_text()) for rank in range(2)]
    for row, first, second in zip(whole, *shares, strict=True):
        assert (row[0::2], row[1::2]) == (first, second)
    expected, found = (safetensors.torch.load_file(path / member.WEIGHTS) for path in (tmp_path / "alone", work))
    apart = sum((tensor - found[name]).double().square().sum() for name, tensor in expected.items())
    assert float(apart / sum(tensor.double().square().sum() for tensor in expected.values())) ** 0.5 < 1e-5


def test_sigterm_is_answered_by_a_checkpoint_and_75(tmp_path):
    tiny.data(tmp_path)
    process = started(order(tmp_path, "long", 2, steps=100_000, checkpoint_every=2))
    deadline = time.monotonic() + 300
    while not list((tmp_path / "long").glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 75, errors[-3000:]
    newest = max((tmp_path / "long").glob("step-*"))
    assert json.loads((newest / "state.json").read_text())["step"] == int(newest.name[5:])


def test_one_process_on_a_cpu_starts_no_group(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with processes.joined(LaunchParams(**ONE)) as team:
        assert team is ALONE
        assert not torch.distributed.is_initialized()
        losses, asked = team.agreed(torch.ones(2), asked=True)
        assert (losses.tolist(), asked) == ([1.0, 1.0], True)


def test_more_gpus_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(WrongUse, match="gpus_per_node 2, and there are 1 GPUs"),
        processes.joined(LaunchParams(**dict[str, Any](ONE, device="auto", gpus_per_node=2))),
    ):
        pass


def test_nodes_must_know_where_to_meet():
    with pytest.raises(ValueError, match="rendezvous is null for 2 nodes"):
        LaunchParams(**dict[str, Any](ONE, nodes=2))


def test_a_gpu_is_taken_where_there_is_one_and_missed_where_one_is_asked_for():
    assert processes.device("cpu", "a.key") == "cpu"
    if torch.cuda.is_available():
        assert processes.device("auto", "a.key") == processes.device("cuda", "a.key") == "cuda"
        return
    assert processes.device("auto", "a.key") == "cpu"
    with pytest.raises(WrongUse, match=r"a\.key: cuda.*set it to cpu"):
        processes.device("cuda", "a.key")
