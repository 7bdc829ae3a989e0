"""Steps of the engine beside bare forward, backward and optimiser, and what checkpoints add to them.

Names:  engine  steps as trained: batches read and normalised, noise and sigmas drawn, losses checked and kept, the
                average moved
        bare    the same network, losses, clipping and optimisers, on batches, noise and sigmas that are in memory
The engine's steps are counted from one call of its objective to a later one, so that starting and ending is not.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

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

BATCH, ROWS, STEPS, ROUNDS, WARM = 48, 512, 8, 8, 2
Moments = list[tuple[float, float]]  # seconds of CPU and of the wall


def measure(frame: Frame) -> None:
    """Measure and record the loop's share."""
    steps, rounds = (2, 1) if frame.quick else (STEPS, ROUNDS)
    with scratch.folder(frame) as folder:
        dataset = _dataset(frame, folder)
        ways = {
            "engine": lambda number: engine_steps(_job(frame, folder / f"engine-{number}", dataset, steps), steps),
            "bare": lambda number: _bare(_job(frame, folder / f"bare-{number}", dataset, steps), steps),
        }
        found = in_turn.rounds(ways, rounds)
    ratio = in_turn.ratio(found["bare"], found["engine"])
    ours, theirs = (in_turn.mean(found[name]).per(steps) for name in ("engine", "bare"))
    frame.record(
        "steps_against_bare",
        ratio.low,
        0.97,
        ">=",
        unit="of the bare steps a second",
        n=rounds,
        spread=str(ratio),
        note=f"the teacher's shape, batches of {BATCH} images; {ours.cpu * 1e3:.1f} against {theirs.cpu * 1e3:.1f} ms "
        "of one core a step; the lower bound counts",
    )


def pause(frame: Frame) -> None:
    """Measure and record what checkpoints take of a training."""
    saves, steps = (1, 2) if frame.quick else (8, STEPS)
    with scratch.folder(frame) as folder:
        dataset = _dataset(frame, folder)
        job = _job(frame, folder / "steps", dataset, steps)
        every = _interval()
        step = engine_steps(job, steps).per(steps)
        costs = sorted(_saving(job, folder / "saves", saves))
    worst = costs[-1]
    frame.record(
        "checkpoint_pause",
        worst / (worst + every * step.wall),
        0.01,
        "<=",
        unit="of training time",
        n=saves,
        spread=f"{costs[0] * 1e3:.0f} to {worst * 1e3:.0f} ms of the wall a checkpoint, the longest counts",
        note=f"weights, average and both optimisers of the teacher's shape, on the disk, with digests, every {every} "
        f"steps of {step.wall * 1e3:.0f} ms",
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
        if network.training:
            moments.append((time.process_time(), time.perf_counter()))
        return job.objective(network, batch, noise, sigma)

    engine.run(dataclasses.replace(job, objective=objective))
    return _between(moments, steps)


def _bare(job: Job, steps: int) -> Cost:
    """What so many steps of the network and its optimisers alone take."""
    torch.set_num_threads(job.params.threads)
    prepared = _prepared(job)
    network = job.network.train()
    optimizer = Optimizer(network, job.params.optimizer, job.params.steps)
    moments: Moments = []
    for step, (batch, noise, sigma) in enumerate(prepared):
        moments.append((time.process_time(), time.perf_counter()))
        job.objective(network, batch, noise, sigma).mean().backward()
        optimizer.clip()
        optimizer.step(step)
    return _between(moments, steps)


def _prepared(job: Job) -> Sequence[tuple[Batch, Tensor, Tensor]]:
    """Batches, noise and sigmas of all steps, in memory."""
    params, process = job.params, job.process
    batches = Batches(
        job.dataset, buckets=params.buckets, steps=params.steps, dropout=params.caption_dropout, seed=params.seed
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


def _saving(job: Job, work: Path, saves: int) -> list[float]:
    """Wall seconds that steps wait for a checkpoint, each: the time until ``save`` returns."""
    optimizer = Optimizer(job.network, job.params.optimizer, 1)
    state = job.network.state_dict()
    tensors = {"network": state, "average": state, "optimizer": optimizer.tensors()}
    kept = Checkpoints(work, {}, job.params.keep)
    return [_timed(lambda step=step: kept.save(step, tensors, {"losses": [0.0]}, loss=None)) for step in range(saves)]


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
