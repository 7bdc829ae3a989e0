"""Steps of the engine beside bare forward, backward and optimiser, and what checkpoints add to them.

Names:  engine  steps as trained: batches read and normalised, noise and sigmas drawn, losses checked and kept, the
                average moved
        bare    the same network, losses, clipping and optimisers, on batches, noise and sigmas that are in memory
The engine's steps are counted from one call of its objective to the next, so that starting and ending is not.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import Frame
from benchmarks.parts import in_turn, scratch, small_training
from benchmarks.parts.in_turn import Cost
from frostline import engine, randomness, schedule
from frostline.batches import Batches
from frostline.checkpoints import Checkpoints
from frostline.dataset import Batch, Dataset
from frostline.job import Job
from frostline.optimizer import Optimizer

BATCH, ROWS, STEPS, ROUNDS, WARM = 48, 512, 8, 40, 2
Moments = list[tuple[float, float]]  # seconds of CPU and of the wall


def measure(frame: Frame) -> None:
    """Measure and record the loop's share."""
    steps, rounds = (2, 1) if frame.quick else (STEPS, ROUNDS)
    with scratch.folder(frame) as folder:
        dataset = _dataset(frame, folder)
        engines, bares = _in_turn(
            _job(frame, folder / "engine", dataset, steps * rounds), _job(frame, folder / "bare", dataset, 1)
        )
    ours = [in_turn.total(engines[start : start + steps]) for start in range(0, steps * rounds, steps)]
    theirs = [in_turn.total(bares[start : start + steps]) for start in range(0, steps * rounds, steps)]
    ratio = in_turn.ratio(theirs, ours)
    frame.record(
        "steps_against_bare",
        ratio.low,
        0.97,
        ">=",
        unit="of the bare steps a second",
        n=rounds,
        spread=str(ratio),
        note=f"the teacher's shape, batches of {BATCH} images, {steps} steps of each a round, in turn; "
        f"{in_turn.mean(engines).cpu * 1e3:.1f} against {in_turn.mean(bares).cpu * 1e3:.1f} ms of one core a step; "
        "the lower bound counts",
    )


def pause(frame: Frame) -> None:
    """Measure and record what checkpoints take of a training."""
    saves, steps = (1, 2) if frame.quick else (8, STEPS)
    with scratch.folder(frame) as folder:
        dataset = _dataset(frame, folder)
        job = _job(frame, folder / "steps", dataset, steps)
        every = _interval()
        step = engine_steps(job, steps).per(steps)
        costs, written = _saving(job, folder / "saves", saves)
    worst = max(costs)
    frame.record(
        "checkpoint_pause",
        worst / (worst + every * step.wall),
        0.01,
        "<=",
        unit="of training time",
        n=saves,
        spread=f"{min(costs) * 1e3:.1f} to {worst * 1e3:.1f} ms of the wall a checkpoint, the longest counts",
        note=f"weights, average and both optimisers of the teacher's shape, copied every {every} steps of "
        f"{step.wall * 1e3:.0f} ms; written beside the steps, with digests, in {min(written) * 1e3:.0f} to "
        f"{max(written) * 1e3:.0f} ms",
    )


def _dataset(frame: Frame, folder: Path) -> Dataset:
    return Dataset(*small_training.data(folder, small_training.ROWS, 200 if frame.quick else ROWS))


def _job(frame: Frame, work: Path, dataset: Dataset, steps: int) -> Job:
    changed = {"model": small_training.TINY} if frame.quick else {}
    planned = WARM + steps + 1
    return small_training.job(
        work, dataset, small_training.params(small_training.ROWS, batch=BATCH, steps=planned, **changed)
    )


def engine_steps(job: Job, steps: int) -> Cost:
    """What so many steps of the engine take, after some that are not counted."""
    moments: Moments = []

    def objective(network: nn.Module, batch: Batch, noise: Tensor, sigma: Tensor) -> Tensor:
        if _learns(network):
            moments.append((time.process_time(), time.perf_counter()))
        return job.objective(network, batch, noise, sigma)

    engine.run(dataclasses.replace(job, objective=objective))
    return _between(moments, steps)


def _in_turn(job: Job, bare: Job) -> tuple[list[Cost], list[Cost]]:
    """What each step of the engine takes, and each of the network and its optimisers alone.

    Before each step of the engine is one of the other, so that what changes on the machine changes under both.
    """
    network = bare.network.train()
    optimizer = Optimizer(network, bare.params.optimizer, job.params.steps)
    [(batch, noise, sigma), *_] = _prepared(bare)
    engines: list[Cost] = []
    bares: list[Cost] = []
    left: list[tuple[float, float]] = []

    def step() -> None:
        bare.objective(network, batch, noise, sigma).mean().backward()
        optimizer.clip()
        optimizer.step(len(bares))

    def objective(of_engine: nn.Module, *given: Any) -> Tensor:
        if _learns(of_engine):
            now = time.process_time(), time.perf_counter()
            if left:
                engines.append(Cost(now[0] - left[-1][0], now[1] - left[-1][1]))
            bares.append(in_turn.cost(step))
            left.append((time.process_time(), time.perf_counter()))
        return job.objective(of_engine, *given)

    engine.run(dataclasses.replace(job, objective=objective))
    return engines[WARM:], bares[WARM:-1]


def _learns(network: nn.Module) -> bool:
    """Whether it is asked by a step, and not by a validation or by who looks at the training."""
    return network.training and torch.is_grad_enabled()


def _prepared(job: Job) -> Sequence[tuple[Batch, Tensor, Tensor]]:
    """Batches, noise and sigmas of all steps, in memory."""
    params, process = job.params, job.process
    batches = Batches(
        job.dataset, buckets=job.buckets, steps=params.steps, dropout=params.caption_dropout, seed=params.seed
    )
    found = []
    for step in range(params.steps):
        batch = batches.at(step)
        size = len(batch.rows)
        noise = randomness.normal_rows(list(range(size)), batch.clean.shape[1:], params.seed, step, "noise")
        draw = randomness.generator(params.seed, step, "sigma")
        found.append((batch, noise, schedule.DRAWS[process.draws](size, process.shift, draw)))
    return found


def _between(moments: Moments, steps: int) -> Cost:
    (cpu, wall), (later, end) = moments[WARM], moments[WARM + steps]
    return Cost(later - cpu, end - wall)


def _interval() -> int:
    """The interval of the project's own teacher, in steps."""
    from frostline import params

    return params.load().run("teacher").checkpoint_every


def _saving(job: Job, work: Path, saves: int) -> tuple[list[float], list[float]]:
    """Wall seconds that steps wait for a checkpoint, each, which is until ``save`` returns; and until it is written."""
    optimizer = Optimizer(job.network, job.params.optimizer, 1)
    state = job.network.state_dict()
    tensors = {"network": state, "average": state, "optimizer": optimizer.tensors()}
    kept = Checkpoints(work, {}, job.params.keep)
    paused: list[float] = []
    written: list[float] = []
    for step in range(saves):
        paused.append(_timed(lambda step=step: kept.save(step, tensors, {"losses": [0.0]}, loss=None)))
        written.append(paused[-1] + _timed(kept.wait))
    kept.close()
    return paused, written


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
