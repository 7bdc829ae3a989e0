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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

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
    """Kill and compare; the trainings run beside one another."""
    kills, each = (1, 1) if frame.quick else (KILLS, PER_TRAINING)
    with scratch.folder(frame) as folder, ThreadPoolExecutor(kills // each + 1) as lanes:
        alone = lanes.submit(_finished, _project(frame, folder / "alone"))
        found = list(lanes.map(lambda number: _killed(frame, folder / f"{number}", number, each), range(kills // each)))
        expected = alone.result()
    where = sum((hit for hit, _ in found), Counter[str]())
    frame.record(
        "killed_to_the_same_bits",
        sum(hit.total() - hit[DONE] for hit, made in found if made == expected),
        kills,
        "==",
        unit="kills",
        n=kills,
        spread=", ".join(f"{count} in {phase}" for phase, count in sorted(where.items())),
        note=f"trainings of the teacher's shape under dvc repro, {each} kills each, weights compared by digest",
    )


def _killed(frame: Frame, folder: Path, number: int, kills: int) -> tuple[Counter[str], str]:
    """A training that is killed so many times: where it was then, and the digest of its weights at the end."""
    toy = _project(frame, folder)
    dice = random.Random(number)  # noqa: S311 - moments
    hit = Counter(_kill(toy, PHASES[(number * kills + turn) % len(PHASES)], dice) for turn in range(kills))
    return hit, _finished(toy)


class Toy(NamedTuple):
    """A DVC project of one stage."""

    folder: Path
    command: list[str]  # that makes what is not made
    environment: dict[str, str]


def _project(frame: Frame, folder: Path) -> Toy:
    """A new one; the quick form goes through the stage without DVC."""
    folder.mkdir()
    index, latents = small_training.data(folder / "data", small_training.ROWS, 200)
    shutil.copy(index, folder / "latents.json")
    (folder / "latents").symlink_to(latents)
    files.write_json(folder / "preflight.json", {"dataset": files.read_json(index)["digest"], "passed": True})
    steps = 6 if frame.quick else 60
    changed: dict[str, Any] = {"model": small_training.TINY} if frame.quick else {}
    often = {"validate_every": {"steps": 3}, "checkpoint_every": 2}
    values = yaml.safe_load(Path("params.yaml").read_text())
    run = small_training.params(small_training.ROWS, batch=16, steps=steps, **often, **changed)
    values["train"]["runs"] = {"teacher": run}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    params.load(folder / "params.yaml")
    (folder / "dvc.yaml").write_text(GRAPH.format(python=sys.executable, stage=STAGE))
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(Path.cwd())}
    if not frame.quick:
        subprocess.run(
            [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=folder, env=environment, check=True
        )
    command = [sys.executable, "-m", *(STAGE.split() if frame.quick else ("dvc", "repro"))]
    return Toy(folder, command, environment)


def _finished(toy: Toy) -> str:
    """Run to the end; the digest of the weights."""
    (toy.folder / TOLD).write_bytes(b"\0" * 8)
    project.run(toy.command, toy.folder, toy.environment)
    return digests.of_file(toy.folder / WEIGHTS)


def _kill(toy: Toy, wanted: str, dice: random.Random) -> str:
    """Start, and kill in a phase of the wanted kind; gives the phase it was in when it was killed."""
    told = toy.folder / TOLD
    told.write_bytes(b"\0" * 8)
    with (toy.folder / "killed.log").open("w") as log:
        process = subprocess.Popen(
            toy.command,
            cwd=toy.folder,
            env=toy.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with told.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
            turns = dice.randint(1, 2)  # phases of this kind that are let pass
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
