"""How long the flow takes beside `dvc repro`, and what the server knows of it."""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.parts import project

TAKING_DOWN = 180.0  # seconds
PAGE = 200
DVC = [sys.executable, "-m", "dvc"]


def unchanged(folder: Path, pairs: int) -> list[tuple[float, float]]:
    """Seconds of `dvc repro` and of the flow once it has begun, in turn, where nothing is to be done."""
    from flows import server
    from flows.pipeline import pipeline

    found: list[tuple[float, float]] = []
    with server.api():
        pipeline(str(folder))  # the first one imports
        for _ in range(pairs):
            started = time.perf_counter()
            subprocess.run([*DVC, "repro", "--quiet"], cwd=folder, check=True)
            between = time.perf_counter()
            pipeline(str(folder))
            found.append((between - started, time.perf_counter() - between))
    return found


def states(folder: Path, wanted: int) -> int:
    """How many stages of a project have a final state on the server after a run, each known by its name.

    The server takes states down as they come, some time after the flow has ended where there are many.
    """
    from flows import server
    from flows.pipeline import pipeline

    with server.api():
        run = pipeline(str(folder), return_state=True).state_details.flow_run_id
        deadline = time.monotonic() + TAKING_DOWN
        while (found := len(_ended(str(run)))) < wanted and time.monotonic() < deadline:
            time.sleep(1)
    return found


def _ended(run: str) -> set[str]:
    """Names of the task runs of a flow run of which the server knows the end."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import TaskRunFilter

    wanted = TaskRunFilter.model_validate({"flow_run_id": {"any_": [run]}})
    names, page = set[str](), 0
    with get_client(sync_client=True) as client:
        while found := client.read_task_runs(task_run_filter=wanted, limit=PAGE, offset=PAGE * page):
            names |= {run.name for run in found if run.state is not None and run.state.is_final()}
            page += 1
    return names


def clone(folder: Path, changes: Mapping[str, Any]) -> Path:
    """A fresh clone of ours under the preset quick, with other values in params.yaml."""
    made = project.clone(folder)
    project.run(["frostline", "preset", "quick"], made, project.installed(project.bare(folder.parent / "home")))
    path = made / "params.yaml"
    values = yaml.safe_load(path.read_text())
    _lay(values, changes)
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return made


def both(first: Path, second: Path) -> tuple[float, float]:
    """Seconds of `dvc repro` in one folder and of the flow in the other."""
    environment = project.installed(project.bare(first.parent / "home"))
    here = {**environment, "PYTHONPATH": str(Path.cwd())} if not (first / "flows").exists() else environment
    repro = project.run([*DVC, "repro"], first, here)
    flow = project.run([sys.executable, "-m", "flows.pipeline"], second, here)
    return repro.wall, flow.wall


def _lay(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            _lay(values[key], value)
        else:
            values[key] = value
