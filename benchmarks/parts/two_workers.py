"""Two stages that do not need each other, each on a worker with a clone of its own."""

import subprocess
from pathlib import Path

from benchmarks.parts import served
from benchmarks.parts.served import Served
from tests import toy_project


def measured(folder: Path, seconds: float) -> tuple[float, bool]:
    """For how long both ran at the same time, and whether dvc.lock is that of `dvc repro` alone."""
    project = toy_project.make(folder / "toy", params=f"text: a\nseconds: {seconds}\n")
    dvc = ["remote", "add", "--default", "store", str(folder / "store")]
    subprocess.run([*toy_project.DVC, *dvc], cwd=project, check=True)
    toy_project.commit(project, "remote")
    origin = folder / "origin.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(project), str(origin)], check=True)
    clones = [folder / name for name in ("alone", "one", "two")]
    for clone in clones:
        subprocess.run(["git", "clone", "--quiet", str(origin), str(clone)], check=True)
    toy_project.git(project, "remote", "add", "origin", str(origin))
    with served.serving(project, worker=False) as parts:
        parts.run("-m", "flows.schedule", "--gpus", "2")
        for clone in clones[1:]:
            _worker(parts, clone)
        parts.run("-m", "flows.pipeline", "--spread")
    subprocess.run([*toy_project.DVC, "repro", "--quiet"], cwd=clones[0], check=True)
    spans = [_span(clone, name, seconds) for clone in clones[1:] for name in ("left", "right")]
    starts, ends = zip(*[span for span in spans if span], strict=True)
    same = (clones[0] / "dvc.lock").read_bytes() == (project / "dvc.lock").read_bytes()
    return min(ends) - max(starts), same


def _worker(parts: Served, clone: Path) -> None:
    here, parts.project = parts.project, clone
    parts.start_worker(clone.name, "gpu", 1)
    parts.project = here


def _span(clone: Path, name: str, seconds: float) -> tuple[float, float] | None:
    """When a stage ran in a clone, by the clock: it notes its start, then sleeps."""
    log = clone / f"{name}.log"
    if not log.exists():
        return None
    start = float(log.read_text())
    return start, start + seconds
