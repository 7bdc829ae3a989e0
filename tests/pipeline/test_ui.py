"""The pages of Prefect in a browser, over a server, a worker and a project of our own.

Pictures of what it saw are kept in FROSTLINE_TEST_PICTURES, if that is set.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import psutil
import pytest

from tests import browser, postgres_server, toy_project
from tests.waiting import until

pytestmark = pytest.mark.slow
LONG = 300.0
Site = tuple[Path, int, subprocess.Popen[str]]  # a project, the port of Prefect's pages, `make ui`


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("FROSTLINE_TEST_PICTURES")
    return Path(named) if named else tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def told() -> Iterator["Told"]:
    """Takes down what it is told by POST."""
    with Told(("127.0.0.1", 0), Taking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Told(http.server.HTTPServer):
    said: ClassVar[list[dict[str, Any]]] = []


class Taking(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        Told.said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, told: Told) -> Iterator[Site]:
    """A project, the port of `make ui` over it, and its process."""
    project = toy_project.make(tmp_path_factory.mktemp("site") / "toy")
    prefect, mlflow = postgres_server.free_port(), postgres_server.free_port()
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PREFECT_HOME": str(project.parent / "prefect"), "PYTHONPATH": root}
    environment["PREFECT_API_URL"] = f"http://127.0.0.1:{prefect}/api"
    command = [sys.executable, "-m", "flows.ui", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow)]
    log = project.parent / "ui.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=project, env=environment, stdout=output, stderr=output, text=True, start_new_session=True
        )
    try:
        until(lambda: "Ctrl-C ends" in log.read_text() or process.poll() is not None, LONG)
        assert f"http://127.0.0.1:{mlflow}" in log.read_text()
        schedule = [sys.executable, "-m", "flows.schedule", "--notify", f"http://127.0.0.1:{told.server_port}/failed"]
        deployed = subprocess.run(schedule, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        yield project, prefect, process
    finally:
        process.kill()
        process.wait(60)


def found(port: int, path: str, **body: object) -> list[dict[str, Any]]:
    address = f"http://127.0.0.1:{port}/api/{path}/filter"
    return list(httpx.post(address, json=body, timeout=60).raise_for_status().json())


def start(port: int, deployment: str, **parameters: object) -> str:
    """A flow run of a deployment; its id."""
    chosen = next(one for one in found(port, "deployments") if one["name"] == deployment)
    address = f"http://127.0.0.1:{port}/api/deployments/{chosen['id']}/create_flow_run"
    return str(httpx.post(address, json={"parameters": parameters}, timeout=60).raise_for_status().json()["id"])


def finished(port: int, run: str) -> str | None:
    now = state(port, run)
    return now if now in ("Completed", "Failed", "Crashed", "Cancelled") else None


def test_two_experiments_at_once_do_not_meet_and_the_workspace_stays_as_it_was(site: Site):
    project, port, _ = site
    runs = [start(port, "experiment", overrides={"text": text, "seconds": 2}, name=f"try-{text}") for text in "xy"]
    assert [until(lambda run=run: finished(port, run), LONG) for run in runs] == ["Completed", "Completed"]
    for text in "xy":
        assert toy_project.git(project, "show", f"experiments/try-{text}:params.yaml").startswith(f"text: {text} ")
        assert '"length": 13' in toy_project.git(project, "show", f"experiments/try-{text}:score.json")
    assert toy_project.git(project, "status", "--porcelain") == ""
    assert toy_project.git(project, "worktree", "list").count("\n") == 0
    assert not (project / "left.txt").exists()


def test_a_failure_is_told_to_the_address_that_was_named(site: Site, told: Told):
    _, port, _ = site
    run = start(port, "pipeline", target="nothing")
    assert until(lambda: finished(port, run), LONG) == "Failed"
    assert "no such stage" in until(lambda: [one for one in told.said if one["state"] == "Failed"], 120)[0]["message"]


def test_a_run_with_params_is_started_in_the_browser_and_seen_there_and_ctrl_c_ends_all(
    site: Site, pictures: Path, tmp_path: Path
):
    project, port, process = site
    pages = f"http://127.0.0.1:{port}"
    pipeline = next(one for one in found(port, "deployments") if one["name"] == "pipeline")
    with browser.opened(tmp_path / "browser") as page:
        page.open(f"{pages}/deployments")
        page.shows("experiment", "At 02:00 AM every day", "Every 15 minutes")
        page.picture(pictures / "deployments.png")

        page.open(f"{pages}/deployments/deployment/{pipeline['id']}/run")
        page.shows("one stage and all that it needs")
        page.fill("target", "left")
        page.picture(pictures / "custom-run.png")
        page.click("Submit")
        run: Any = until(lambda: ended(port, target="left"), LONG)
        assert run["state_name"] == "Completed"
        assert (project / "left.txt").read_text() == "lefta\n"
        assert not (project / "right.txt").exists()

        whole = start(port, "pipeline")
        assert until(lambda: finished(port, whole), LONG) == "Completed"
        page.open(f"{pages}/runs/flow-run/{whole}")
        page.shows("Completed", "4 Task runs", "Running stage 'right'")
        page.picture(pictures / "flow-run.png")
        page.click("Task Runs")
        page.shows("source", "left", "right", "score", "Cached")
        page.picture(pictures / "task-runs.png")
        page.click("Artifacts")
        page.shows("stages", "score-score", "score-pictures")
        page.picture(pictures / "artifacts.png")

        grid = next(one for one in found(port, "artifacts") if one["key"] == "score-pictures")
        page.open(f"{pages}/artifacts/artifact/{grid['id']}")
        page.until("[...document.images].some(one => one.naturalWidth === 8 && one.complete)")
        page.picture(pictures / "grid.png")
    children = psutil.Process(process.pid).children(recursive=True)
    assert {"prefect", "mlflow"} <= {word for one in children for word in one.cmdline()}
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 0
    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in children), 5)


def ended(port: int, target: str) -> dict[str, Any] | None:
    """The flow run with that target, once it has ended."""
    over = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
    runs = [run for run in found(port, "flow_runs", flow_runs=over) if run["parameters"].get("target") == target]
    return runs[0] if runs else None


def state(port: int, run: str) -> str:
    answer = httpx.get(f"http://127.0.0.1:{port}/api/flow_runs/{run}", timeout=60).raise_for_status().json()
    return str(answer["state_name"])
