"""A training by two processes that talk by gloo, sharded by FSDP2, beside the same training by one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import safetensors.torch

from benchmarks import Frame
from benchmarks.parts import member, scratch, small_training
from frostline import files

STEPS, BATCH, ROWS = 50, 16, 512
LAUNCH = {"device": "cpu", "nodes": 1, "gpus_per_node": 1, "rendezvous": None}


def measure(frame: Frame) -> None:
    """Train alone and by two on the same rows, then compare rows and weights."""
    steps, processes = (2, 1) if frame.quick else (STEPS, 2)
    changed: dict[str, Any] = {"model": small_training.TINY} if frame.quick else {}
    with scratch.folder(frame) as folder:
        index, latents = small_training.data(folder, small_training.ROWS, 200 if frame.quick else ROWS)
        values = small_training.params(small_training.ROWS, batch=BATCH, steps=steps, **changed)
        order = {"index": str(index), "latents": str(latents), "params": values}
        for world in sorted({1, processes}):
            _train(folder / f"{world}", {**order, "launch": {**LAUNCH, "gpus_per_node": world}})
        whole = _rows(folder / "1", 1)
        same = whole == _rows(folder / f"{processes}", processes)
        distance = _distance(folder / "1", folder / f"{processes}")
    note = f"{STEPS} steps of the teacher's shape, batches of {BATCH}, Muon and AdamW, averaged weights"
    frame.record("two_processes_rows", int(same), 1, "==", unit="", n=steps, spread="", note="rows of every step")
    frame.record("two_processes_weights", distance, 1e-5, "<=", unit="relative L2", n=1, spread="", note=note)


def _train(work: Path, order: dict[str, Any]) -> None:
    path = work.with_suffix(".json")
    files.write_json(path, {**order, "work": str(work)})
    command = [sys.executable, "-m", "benchmarks.parts.member", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")


def _rows(work: Path, world: int) -> list[list[int]]:
    """The rows of every step by their places, from what each process had of them."""
    shares = [files.read_json(work / f"{rank}-{member.ROWS}") for rank in range(world)]
    return [[row for rows in zip(*step, strict=True) for row in rows] for step in zip(*shares, strict=True)]


def _distance(one: Path, other: Path) -> float:
    ours, theirs = (safetensors.torch.load_file(work / member.WEIGHTS) for work in (one, other))
    apart = sum(float((ours[name] - theirs[name]).double().square().sum()) for name in ours)
    return (apart / sum(float(tensor.double().square().sum()) for tensor in ours.values())) ** 0.5
