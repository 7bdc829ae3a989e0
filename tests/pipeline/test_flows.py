"""The flow on a tiny DVC project of shell stages: states, order, and what a kill leaves behind."""

import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running
from prefect.testing.utilities import prefect_test_harness

from flows import graph, keeping, orchestrator, pipeline, running
from flows import server as server_of_flows
from flows.errors import WrongUse
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
    with pytest.raises(running.StageFailed, match=re.compile("one ended with exit code.*no such luck", re.S)):
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
def underway(project: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
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


def test_sigterm_lets_the_stage_save_and_ends_the_flow(project: Path, underway: tuple[subprocess.Popen[bytes], int]):
    flow_process, stage = underway
    started = psutil.Process(flow_process.pid).children(recursive=True)
    flow_process.send_signal(signal.SIGTERM)
    assert flow_process.wait(timeout=60) == pipeline.STOPPED
    assert (project / "saved").exists()
    assert stage in {process.pid for process in started}
    assert not any(alive(process) for process in started)


def test_a_killed_flow_leaves_nothing_behind(project: Path, underway: tuple[subprocess.Popen[bytes], int]):
    flow_process, stage = underway
    started = psutil.Process(flow_process.pid).children(recursive=True)
    assert stage in {process.pid for process in started}
    assert {"dvc", "prefect"} <= {word for process in started for word in process.cmdline()}
    flow_process.kill()
    until(lambda: not any(alive(process) for process in started), 20)
    assert not (project / "saved").exists()


def test_gpu_slots_keep_stages_apart_and_a_server_without_them_is_refused(project: Path):
    with pytest.raises(WrongUse, match=r"limit 'gpu'.*train"):
        server_of_flows.require_gpu_limit(["train"])
    server_of_flows.make_gpu_limit(1)
    server_of_flows.require_gpu_limit(["train"])
    timed = "date +%s.%N > {0}.times && sleep 1 && date +%s.%N >> {0}.times && touch {0}"
    stages = {name: {"cmd": timed.format(name), "outs": [name], "meta": {"prefect": {"gpus": 1}}} for name in "ab"}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    assert set(names(project).values()) == {"Completed"}
    a, b = ([float(word) for word in (project / f"{name}.times").read_text().split()] for name in "ab")
    assert a[1] <= b[0] or b[1] <= a[0]
    with get_client(sync_client=True) as client:
        assert client.read_global_concurrency_limit_by_name("gpu").active_slots == 0


def test_records_of_a_killed_flow_are_ended_by_the_next_one(project: Path):
    @flow(name="under-test", persist_result=False)
    def begins() -> None:
        with keeping.alone(project):
            keeping.begin(project)

    with get_client(sync_client=True) as client:
        begins()
        [first] = [run for run in client.read_flow_runs() if keeping.workspace(project) in run.tags]
        client.set_flow_run_state(first.id, Running(), force=True)  # as a killed one says for ever
        begins()
        runs = [run for run in client.read_flow_runs() if keeping.workspace(project) in run.tags]
    assert sorted(str(run.state_name) for run in runs) == ["Completed", "Crashed"]


def test_a_run_that_a_killed_worker_took_is_scheduled_again(project: Path, monkeypatch: pytest.MonkeyPatch):
    @flow(name="taken", persist_result=False)
    def taken() -> None:
        pass

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="some", type="process"), overwrite=True)
        flow_id = client.create_flow(taken)
        deployment = client.create_deployment(flow_id, name="it", work_pool_name="some")
        run = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(run.id, Pending(name="Submitting"), force=True)
        keeping.submit_again(client, "some")
        assert client.read_flow_run(run.id).state_name == "Submitting"  # it may be about to start
        monkeypatch.setattr(keeping, "STARTING", timedelta(0))
        keeping.submit_again(client, "another")
        assert client.read_flow_run(run.id).state_name == "Submitting"
        keeping.submit_again(client, "some")
        assert client.read_flow_run(run.id).state_name == "Scheduled"


def test_a_workspace_has_one_flow_at_a_time(project: Path):
    held, again = keeping.alone(project), keeping.alone(project)
    with held, pytest.raises(WrongUse, match=rf"process {os.getpid()}\); wait"), again:
        pass
    with keeping.alone(project):
        pass
    nowhere = keeping.alone(project / "nowhere")
    with pytest.raises(WrongUse, match="no DVC project"), nowhere:
        pass


def test_forced_stages_run_though_nothing_changed(project: Path):
    names(project)
    ran(project)
    plan = orchestrator.DvcOrchestrator(project).plan("two", force=True)
    assert [(step.stage.address, step.force, step.run) for step in plan] == [("one", True, True), ("two", True, True)]
    assert running.command(plan[0])[-2:] == ["one", "--force"]


@pytest.mark.parametrize(("answer", "said"), [(401, "PREFECT_API_AUTH_STRING"), (404, "ends in /api")])
def test_a_server_that_is_none_of_ours_is_named(answer: int, said: str):
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{other.server_port}/api"
        with temporary_settings({PREFECT_API_URL: address}), pytest.raises(WrongUse, match=said):
            server_of_flows.require_answering()
        other.shutdown()


def test_a_server_that_is_not_there_is_named():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(WrongUse, match="make ui"):
        server_of_flows.require_answering()
