"""What the flow makes of the files that stages write."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from flows import artifacts, devices
from flows.errors import WrongUse
from flows.graph import Hints, Stage


def stage(root: Path, **hints: Any) -> Stage:
    return Stage(
        address="train@a",
        upstream=(),
        changed=True,
        metrics=(root / "m.json", root / "gone.json"),
        hints=Hints(**hints),
    )


def test_metrics_are_flat_and_those_that_changed_come_first(tmp_path: Path):
    (tmp_path / "m.json").write_text(json.dumps({"a": {"x": 1.5, "y": "|"}, "b": 2}))
    found = artifacts.metrics(stage(tmp_path), tmp_path)
    assert found == {"m.json": {"a.x": 1.5, "a.y": "|", "b": 2}}
    table = artifacts.difference({"a.x": 1.5, "b": 1, "old": True}, found["m.json"]).splitlines()[2:]
    assert table == [
        "| a.y | \\| |  |  |",
        "| b | 2 | 1 | +1 |",
        "| old |  | True |  |",
        "| a.x | 1.5 | 1.5 |  |",
    ]


def test_progress_is_that_of_the_newest_file(tmp_path: Path):
    following = stage(tmp_path, progress=".work/*/step-*/state.json", steps=50)
    assert artifacts.done(following, tmp_path) is None
    for step in (10, 25):
        path = tmp_path / ".work" / "key" / f"step-{step:08d}" / "state.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"step": step}))
    assert artifacts.done(following, tmp_path) == 50.0
    path.write_text("{")  # it is being written: the one before it tells
    assert artifacts.done(following, tmp_path) == 20.0
    assert artifacts.done(stage(tmp_path), tmp_path) is None


def test_an_artifact_has_a_name_that_prefect_takes():
    assert artifacts.key("train@Teacher", "m_1.json") == "train-teacher-m-1-json"


def test_a_gpu_is_held_by_one_stage_at_a_time(monkeypatch: pytest.MonkeyPatch):
    names = [f"test-{os.getpid()}-{number}" for number in range(3)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    with devices.held(1) as one, devices.held(2) as two:
        assert one == {"CUDA_VISIBLE_DEVICES": names[0]}
        assert two == {"CUDA_VISIBLE_DEVICES": ",".join(names[1:])}
    with devices.held(3) as all_three:
        assert all_three == {"CUDA_VISIBLE_DEVICES": ",".join(names)}
    with devices.held(0) as none:
        assert none == {}
    with pytest.raises(WrongUse, match=r"gpus: 4.*has 3"), devices.held(4):
        pass


def test_without_a_gpu_a_stage_runs_as_it_would_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with devices.held(1) as settings:
        assert settings == {}
