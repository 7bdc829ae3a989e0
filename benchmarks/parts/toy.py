"""A DVC project of three lines, in which `--quick` rehearses what the full form does in clones of ours."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import Frame
from benchmarks.parts import project

GRAPH = """stages:
  train:
    cmd: {python} train.py
    outs: [models/teacher]
  distill:
    cmd: cp models/teacher models/guided
    deps: [models/teacher]
    params: [seed]
    outs: [models/guided]
"""
TRAIN = """import pathlib, time
started = pathlib.Path(".work/started")
if not started.exists():  # the first run never ends by itself: it is killed
    started.parent.mkdir()
    started.touch()
    time.sleep(60)
pathlib.Path("models").mkdir(exist_ok=True)
pathlib.Path("models/teacher").write_text("weights")
"""


def rehearse(frame: Frame, folder: Path) -> None:
    """Kill a run, run it again, then once more, then with a changed param."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    toy = _project(folder / "toy", environment)
    repro = [sys.executable, "-m", "dvc", "repro"]
    project.kill_when((toy / ".work/started").exists, repro, toy, environment)
    first = project.run(repro, toy, environment)
    made = project.outputs(toy)
    second = project.run(repro, toy, environment)
    _record(frame, "toy_stages_after_kill", len(first.stages), 2)
    _record(frame, "toy_second_repro_stages", len(second.stages), 0)
    _record(frame, "toy_differing_files", len(project.differing(made, project.outputs(toy))), 0)
    (toy / "params.yaml").write_text("seed: 1\n")
    _record(frame, "toy_student_change_stages", len(project.run(repro, toy, environment).stages), 1)


def _project(folder: Path, environment: dict[str, str]) -> Path:
    folder.mkdir()
    (folder / "dvc.yaml").write_text(GRAPH.format(python=sys.executable))
    (folder / "train.py").write_text(TRAIN)
    (folder / "params.yaml").write_text("seed: 0\n")
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=folder, env=environment, check=True
    )
    return folder


def _record(frame: Frame, figure: str, value: int, target: int) -> None:
    frame.record(figure, value, target, "==", unit="", n=1, spread="", note="a toy project")
