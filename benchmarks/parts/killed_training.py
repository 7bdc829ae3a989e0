"""A training under `dvc repro` that is killed with SIGKILL again and again, beside one that was left alone.

The toy project has the project's own stage; a program around it tells in a file what it is doing (steps, a checkpoint,
a validation), so that each kind of moment is hit as often as the others. dvc and the stage are killed at once, as when
the machine goes. The same command goes on.
"""

import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from benchmarks import Frame
from benchmarks.parts import project, scratch, small_training
from benchmarks.parts.told_training import PHASES, TOLD
from frostline import digests, files, params

KILLS, PER_TRAINING = 50, 10
STAGE = (
    "benchmarks.parts.told_training teacher --index latents.json --latents latents --preflight preflight.json "
    "--model models/teacher"
)
GRAPH = """stages:
  train:
    cmd: {python} -m {stage}
    deps: [latents.json]
    params: [train.runs.teacher]
    outs: [models/teacher]
"""
DONE = "nothing, it was done"
WEIGHTS = "models/teacher/transformer/diffusion_pytorch_model.safetensors"


def measure(frame: Frame) -> None:
    """Kill and compare."""
    kills, each = (1, 1) if frame.quick else (KILLS, PER_TRAINING)
    dice, hit, same = random.Random(0), Counter[str](), 0  # noqa: S311 - moments
    with scratch.folder(frame) as folder:
        toy, environment = _project(frame, folder / "toy")
        command = [sys.executable, "-m", *(STAGE.split() if frame.quick else ("dvc", "repro", "--no-run-cache"))]
        expected = _finished(toy, environment, command)
        for training in range(kills // each):
            phases = [PHASES[(training * each + number) % len(PHASES)] for number in range(each)]
            _forget(toy)
            for phase in phases:
                hit[_kill(toy, environment, command, phase, dice)] += 1
            same += each if _finished(toy, environment, command) == expected else 0
    where = ", ".join(f"{count} in {phase}" for phase, count in sorted(hit.items()))
    frame.record(
        "killed_to_the_same_bits",
        same,
        kills,
        "==",
        unit="kills",
        n=kills,
        spread=where,
        note=f"trainings of the teacher's shape under dvc repro, {each} kills each, weights compared by digest",
    )


def _project(frame: Frame, folder: Path) -> tuple[Path, dict[str, str]]:
    """A DVC project of one stage."""
    folder.mkdir()
    index, latents = small_training.data(folder / "data", small_training.ROWS, 200)
    shutil.copy(index, folder / "latents.json")
    (folder / "latents").symlink_to(latents)
    files.write_json(folder / "preflight.json", {"dataset": files.read_json(index)["digest"], "passed": True})
    steps = 6 if frame.quick else 24
    changed: dict[str, Any] = {"model": small_training.TINY} if frame.quick else {}
    often = {"validate_every": {"steps": 3}, "checkpoint_every": 2}
    values = yaml.safe_load(Path("params.yaml").read_text())
    run = small_training.params(small_training.ROWS, batch=16, steps=steps, **often, **changed)
    values["train"]["runs"] = {"teacher": run}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    params.load(folder / "params.yaml")
    (folder / "dvc.yaml").write_text(GRAPH.format(python=sys.executable, stage=STAGE))
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(Path.cwd())}
    if not frame.quick:  # which goes through the stage alone
        command = [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return folder, environment


def _finished(toy: Path, environment: dict[str, str], command: list[str]) -> str:
    """Run to the end; the digest of the weights."""
    (toy / TOLD).write_bytes(b"\0" * 8)
    project.run(command, toy, environment)
    return digests.of_file(toy / WEIGHTS)


def _forget(toy: Path) -> None:
    """Nothing was trained yet."""
    for name in ("models", ".work"):
        shutil.rmtree(toy / name, ignore_errors=True)
    (toy / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(toy / ".dvc" / "cache", ignore_errors=True)


def _kill(toy: Path, environment: dict[str, str], command: list[str], wanted: str, dice: random.Random) -> str:
    """Start, and kill in a phase of the wanted kind; gives the phase it was in when it was killed."""
    told = toy / TOLD
    told.write_bytes(b"\0" * 8)
    with (toy / "killed.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=toy, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        with told.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
            turns = dice.randint(1, 3)  # phases of this kind that are let pass
            while turns and process.poll() is None:
                began = shared[1]
                if PHASES[shared[0] - 1] == wanted and shared[0]:
                    turns -= 1
                    if turns:
                        while shared[1] == began and process.poll() is None:
                            time.sleep(0.0005)
                time.sleep(0.0005)
            time.sleep(dice.random() * 0.03)
            phase = (PHASES[shared[0] - 1] if shared[0] else "starting") if process.poll() is None else DONE
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            phase = DONE
        process.wait()
    return phase
