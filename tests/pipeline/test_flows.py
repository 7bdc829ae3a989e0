"""The flow on a tiny DVC project of shell stages: states, order, and what a kill leaves behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prefect import flow
from prefect.client.schemas import State
from prefect.testing.utilities import prefect_test_harness

from flows import graph, orchestrator, pipeline
from tests.waiting import until

DVC = [sys.executable, "-m", "dvc"]
CHAIN = """
stages:
  one:
    cmd: cat source.txt > one.txt && echo one >> ran.log
    deps: [source.txt]
    outs: [one.txt]
  two:
    cmd: cat one.txt > two.txt && echo two >> ran.log
    deps: [one.txt]
    outs: [two.txt]
  aside:
    cmd: >-
      echo '{"score": 0.5}' > aside.json && echo aside >> ran.log
    deps: [other.txt]
    metrics:
    - aside.json:
        cache: false
  kept:
    cmd: touch kept.txt
    outs: [kept.txt]
    frozen: true
"""


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    """One Prefect server with an empty database for all tests here."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run([*DVC, "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "source.txt").write_text("a\n")
    (tmp_path / "other.txt").write_text("b\n")
    (tmp_path / "dvc.yaml").write_text(CHAIN)
    return tmp_path


def states(root: Path) -> dict[str, State]:
    """Run the flow's body over a project, whatever the outcome."""
    found: dict[str, State] = {}

    @flow(name="under-test", persist_result=False)
    def body() -> None:
        project = orchestrator.DvcOrchestrator(root)
        found.update(project.run(project.plan()))

    body()
    return found


def names(root: Path) -> dict[str, str | None]:
    return {address: state.name for address, state in states(root).items()}


def ran(root: Path) -> list[str]:
    log = root / "ran.log"
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def test_the_graph_is_read_upstream_first_without_frozen_stages(project: Path):
    stages = {stage.address: stage for stage in graph.read(project)}
    assert set(stages) == {"one", "two", "aside"}
    assert stages["two"].upstream == ("one",)
    assert list(stages).index("one") < list(stages).index("two")
    assert all(stage.changed for stage in stages.values())
    assert stages["aside"].metrics == (project / "aside.json",)


def test_first_run_runs_all_second_keeps_all_then_only_what_changed(project: Path):
    assert names(project) == {"one": "Completed", "two": "Completed", "aside": "Completed"}
    assert sorted(ran(project)) == ["aside", "one", "two"]
    assert set(names(project).values()) == {"Cached"}
    assert ran(project) == []
    (project / "source.txt").write_text("changed\n")
    assert names(project) == {"one": "Completed", "two": "Completed", "aside": "Cached"}
    assert ran(project) == ["one", "two"]
    assert (project / "two.txt").read_text() == "changed\n"
    (project / "source.txt").write_text("a\n")
    assert names(project) == {"one": "Restored", "two": "Restored", "aside": "Cached"}
    assert ran(project) == []
    assert (project / "two.txt").read_text() == "a\n"


def test_a_failure_names_its_last_lines_and_what_follows_is_not_ready(project: Path):
    (project / "dvc.yaml").write_text(CHAIN.replace("cat source.txt >", "echo no such luck; false &&"))
    found = states(project)
    assert {address: state.name for address, state in found.items()} == {
        "one": "Failed",
        "two": "NotReady",
        "aside": "Completed",
    }
    with pytest.raises(orchestrator.StageFailed, match=re.compile("one ended with exit code.*no such luck", re.S)):
        found["one"].result()
    assert ran(project) == ["aside"]


def test_a_preempted_stage_is_run_again_without_being_asked(project: Path):
    preempted = "test -e mark || { touch mark; exit 75; }; cat source.txt >"
    (project / "dvc.yaml").write_text(CHAIN.replace("cat source.txt >", preempted))
    assert names(project)["one"] == "Completed"
    assert (project / "one.txt").read_text() == "a\n"


def test_retries_and_time_limits_are_those_of_dvc_yaml(project: Path):
    second_time = "test -e mark || { touch mark; exit 1; }; cat source.txt >"
    hints = "meta: {prefect: {retries: 1}}\n    deps: [source.txt]"
    text = CHAIN.replace("cat source.txt >", second_time).replace("deps: [source.txt]", hints)
    slow = "sleep 600; echo '{"
    limit = "meta: {prefect: {timeout: 5}}\n    deps: [other.txt]"
    text = text.replace("echo '{", slow).replace("deps: [other.txt]", limit)
    (project / "dvc.yaml").write_text(text)
    started = time.monotonic()
    assert names(project) == {"one": "Completed", "two": "Completed", "aside": "Failed"}
    assert time.monotonic() - started < 500


def test_an_unknown_hint_is_an_error(project: Path):
    (project / "dvc.yaml").write_text(CHAIN.replace("deps: [other.txt]", "meta: {prefect: {retrys: 1}}"))
    with pytest.raises(graph.WrongHint, match=r"aside.*retrys"):
        graph.read(project)


def test_what_is_gone_outside_dvc_is_made_again(project: Path):
    registered = "meta: {prefect: {verify: test -e registry}}\n    deps: [other.txt]"
    text = CHAIN.replace("echo '{", "touch registry; echo '{").replace("deps: [other.txt]", registered)
    (project / "dvc.yaml").write_text(text)
    names(project)
    assert set(names(project).values()) == {"Cached"}
    ran(project)
    (project / "registry").unlink()
    assert names(project) == {"one": "Cached", "two": "Cached", "aside": "Completed"}
    assert ran(project) == ["aside"]
    assert (project / "registry").exists()


SLOW = """
stages:
  slow:
    cmd: exec python slow.py
    deps: [source.txt]
    outs: [slow.txt]
"""
SLOW_PY = """
import os, pathlib, signal, sys, time
sys.path.insert(0, {root!r})
from frostline import workspace
workspace.die_with_parent()
def save(*_):
    pathlib.Path("saved").touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
pathlib.Path("pid").write_text(str(os.getpid()))
time.sleep(120)
"""


@pytest.fixture
def running(project: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The flow in a process of its own, and the id of the stage's process, which has begun."""
    (project / "dvc.yaml").write_text(SLOW)
    (project / "slow.py").write_text(SLOW_PY.format(root=str(Path.cwd())))
    command = [sys.executable, "-m", "flows.pipeline", "--root", str(project)]
    flow_process = subprocess.Popen(command, env={**os.environ, "PREFECT_HOME": str(project / ".prefect")})
    try:
        until(lambda: (project / "pid").exists() and (project / "pid").read_text() != "")
        yield flow_process, int((project / "pid").read_text())
    finally:
        flow_process.kill()
        flow_process.wait(60)


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_sigterm_lets_the_stage_save_and_ends_the_flow(project: Path, running: tuple[subprocess.Popen[bytes], int]):
    flow_process, stage = running
    started = psutil.Process(flow_process.pid).children(recursive=True)
    flow_process.send_signal(signal.SIGTERM)
    assert flow_process.wait(timeout=60) == pipeline.STOPPED
    assert (project / "saved").exists()
    assert stage in {process.pid for process in started}
    assert not any(alive(process) for process in started)


def test_a_killed_flow_leaves_nothing_behind(project: Path, running: tuple[subprocess.Popen[bytes], int]):
    flow_process, stage = running
    started = psutil.Process(flow_process.pid).children(recursive=True)
    assert stage in {process.pid for process in started}
    assert {"dvc", "prefect"} <= {word for process in started for word in process.cmdline()}
    flow_process.kill()
    until(lambda: not any(alive(process) for process in started), 20)
    assert not (project / "saved").exists()
