"""What a flow reads of dvc.yaml before it starts anything, and what it refuses to start."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from flows import graph, ordering
from flows.errors import WrongUse
from tests.waiting import until

DVC = [sys.executable, "-m", "dvc"]
MANY, IN_TIME = 200, 5.0  # stages, seconds


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run([*DVC, "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "source.txt").write_text("a\n")
    return tmp_path


def write(project: Path, **stages: object) -> None:
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))


def copies(source: str, made: str) -> dict[str, object]:
    return {"cmd": f"cp {source} {made}", "deps": [source], "outs": [made]}


def test_a_target_is_a_stage_and_all_that_it_needs(project: Path):
    write(project, one=copies("source.txt", "1"), two=copies("1", "2"), aside=copies("source.txt", "3"))
    assert [stage.address for stage in graph.read(project, "two")] == ["one", "two"]
    with pytest.raises(WrongUse, match=r"'tow'.*aside, one, two"):
        graph.read(project, "tow")


def test_a_cycle_is_named(project: Path):
    write(project, one=copies("2", "1"), two=copies("1", "2"))
    with pytest.raises(WrongUse, match="cycle"):
        graph.read(project)


def test_a_dependency_that_nobody_makes_is_named_before_anything_runs(project: Path):
    write(project, one=copies("source.txt", "1"), two=copies("gone.txt", "2"))
    with pytest.raises(WrongUse, match=r"stage two.*gone\.txt does not exist"):
        graph.read(project)


def test_what_a_stage_makes_a_part_of_need_not_exist(project: Path):
    write(
        project,
        part=copies("source.txt", "all/part"),
        whole={"cmd": "true", "deps": ["all"]},
        inner={"cmd": "true", "deps": ["all/part/inner"]},
    )
    assert {stage.address: stage.upstream for stage in graph.read(project)} == {
        "part": (),
        "whole": ("part",),
        "inner": ("part",),
    }


def test_broken_yaml_is_named(project: Path):
    (project / "dvc.yaml").write_text("stages:\n  one: {cmd: [")
    with pytest.raises(WrongUse, match=r"dvc\.yaml"):
        graph.read(project)


def test_no_project_and_no_remote_are_named(project: Path, tmp_path: Path):
    write(project, one=copies("source.txt", "1"))
    with pytest.raises(WrongUse, match="remote"):
        graph.read(project, pull=True)
    with pytest.raises(WrongUse, match="remote"):
        graph.require_remote(project)
    empty = tmp_path / "elsewhere" / "empty"
    empty.mkdir(parents=True)
    (project / ".dvc").rename(project / "no-dvc")
    with pytest.raises(WrongUse, match="empty"):
        graph.read(empty)


def test_a_project_that_dvc_works_in_is_refused(project: Path):
    write(project, one=copies("source.txt", "1"))
    code = "import time; from dvc.repo import Repo; Repo('.').lock.lock(); open('held', 'w'); time.sleep(600)"
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=project)
    try:
        until((project / "held").exists)
        with pytest.raises(WrongUse, match="another DVC command"):
            graph.read(project)
    finally:
        holder.kill()
        holder.wait()
    assert graph.read(project)


def test_hints_may_be_templates_and_change_no_lock(project: Path):
    (project / "params.yaml").write_text("runs: {a: {steps: 5}}\nlaunch: {gpus: 2}\n")
    each = {"cmd": "touch ${key}", "outs": ["${key}"]}
    write(project, train={"foreach": "${runs}", "do": each})
    subprocess.run([*DVC, "repro", "--quiet"], cwd=project, check=True)
    before = (project / "dvc.lock").read_bytes()
    hints = {"progress": ".work/${key}/*.json", "steps": "${item.steps}", "gpus": "${launch.gpus}", "pool": "gpu"}
    write(project, train={"foreach": "${runs}", "do": {**each, "meta": {"prefect": hints}}})
    [stage] = graph.read(project)
    assert not stage.changed
    assert (stage.hints.progress, stage.hints.steps, stage.hints.gpus) == (".work/a/*.json", 5, 2)
    subprocess.run([*DVC, "repro", "--quiet"], cwd=project, check=True)
    assert (project / "dvc.lock").read_bytes() == before


def test_a_lock_in_another_order_is_brought_into_that_of_dvc_repro(project: Path):
    names = ["a", "b", "c"]
    write(project, **{name: copies("source.txt", name) for name in names})
    subprocess.run([*DVC, "repro", "--quiet"], cwd=project, check=True)
    wanted = (project / "dvc.lock").read_bytes()
    assert graph.locked(project) == names
    graph.order_lock(project, ["c", "a"])
    assert graph.locked(project) == ["c", "a", "b"]
    ordering.begin(project)
    ordering.end(project, names)
    assert graph.locked(project) == ["c", "a", "b"]  # it was so before
    (project / "dvc.lock").rename(project / "made.lock")
    ordering.begin(project)  # this one is killed while it runs
    (project / "made.lock").rename(project / "dvc.lock")
    ordering.begin(project)
    ordering.end(project, names)
    assert (project / "dvc.lock").read_bytes() == wanted


def test_one_stage_is_read_without_its_upstream_being_there(project: Path):
    write(project, one=copies("gone.txt", "1"), two=copies("1", "2"))
    assert graph.one(project, "two").upstream == ("one",)


def test_two_hundred_stages_are_planned_in_time(project: Path):
    write(project, **{f"stage{i}": copies(source(i), f"{i}.txt") for i in range(MANY)})
    digest = hashlib.md5(b"a\n", usedforsecurity=False).hexdigest()
    cached = project / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    cached.parent.mkdir(parents=True)
    cached.write_text("a\n")
    for i in range(MANY):
        (project / f"{i}.txt").write_text("a\n")
    same = {"hash": "md5", "md5": digest, "size": 2}
    locked = {
        f"stage{i}": {
            "cmd": f"cp {source(i)} {i}.txt",
            "deps": [{"path": source(i), **same}],
            "outs": [{"path": f"{i}.txt", **same}],
        }
        for i in range(MANY)
    }
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": locked}))
    started = time.process_time()  # of this process: others are at work on the machine
    stages = graph.read(project)
    assert time.process_time() - started < IN_TIME
    assert len(stages) == MANY
    assert not any(stage.changed for stage in stages)


def source(i: int) -> str:
    """What a stage of ten chains reads."""
    return f"{i - 1}.txt" if i % 20 else "source.txt"
