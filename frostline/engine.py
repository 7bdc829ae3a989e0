"""The training loop, shared by train and distill: one step after the other, resumable to the bit.

It is given a network and an objective and knows neither VAE nor text encoder: what it reads are cached latents and
embeddings. Every random number is a function of (seed, step, row, purpose), so validation, previews and a resume
change nothing, and any number of processes draws the same. Precision: weights, gradients and optimiser in float32,
sigmas in float64; what a network computes in stands in ``sharding``.
"""

import contextlib
from dataclasses import dataclass

import torch
import tqdm
from torch import Tensor

from frostline import (
    averages,
    companions,
    failing,
    gradients,
    loading,
    randomness,
    sharding,
    transformer,
    validation,
    vitals,
    workspace,
)
from frostline.averages import OfAll, OfPart
from frostline.batches import Batches, Share
from frostline.checkpoints import Checkpoints
from frostline.dataset import Batch
from frostline.ema import Average
from frostline.errors import FrostlineError, WrongUse
from frostline.job import Job
from frostline.networks import Transformer
from frostline.optimizer import Optimizer
from frostline.progress import Progress, validation_loss
from frostline.speed import Meter
from frostline.workspace import Preemption

SETTLED = 0.2  # share of a training after which what companions tell is judged

Averaged = OfAll[Transformer] | OfPart[Transformer]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training made."""

    network: Transformer  # the average: what is sampled
    progress: Progress
    maturity: float  # share of the average that is not the weights it began with


def run(job: Job) -> Outcome:
    """Train until the planned end or ``stop_at``; goes on from the newest checkpoint in the work folder.

    Raises Preempted after SIGTERM, with a checkpoint written; FrostlineError for a loss that is no number, for memory
    that does not suffice, and for a check of the running training that fails (``vitals``).
    """
    params, team = job.params, job.team
    torch.set_num_threads(params.threads)
    if team.device.type == "cpu":
        workspace.keep_memory()
    share = Share(rank=team.rank, world=team.world)
    batches = _batches(job)
    validate_every = params.validate_every.in_steps(batches.steps_per_epoch)
    end = params.steps if params.stop_at is None else min(params.stop_at, params.steps)

    network, average = _placed(job)
    optimizer = Optimizer(network, params.optimizer, params.steps)
    checkpoints = Checkpoints(job.work, job.belongs_to, params.keep, team, job.mirror)
    progress = _resume(job, checkpoints, network, average, optimizer)
    attendant = vitals.Attendant(job, network, optimizer, progress)
    job = attendant.job
    frozen = not all(parameter.requires_grad for parameter in network.parameters())
    meter = Meter(network.config, world=team.world, device=team.device, frozen=frozen)
    readers = loading.readers(batches, threads=params.threads, share=share)
    with (
        failing.memory_explained(job),
        contextlib.closing(checkpoints),
        Preemption() as preemption,
        contextlib.closing(loading.read(batches, progress.step, end, share=share, readers=readers)) as read,
        tqdm.tqdm(
            total=end, initial=progress.step, desc=job.name, unit="step", mininterval=2.0, disable=not team.leads
        ) as bar,
    ):
        for batch in read:
            step, last = progress.step, progress.step + 1 == end
            times = _times(job, batches, step)

            for beside in job.companions:
                beside.lead(batch, step)
            own_losses = _learn(job, network, batch, times, step)
            losses, asked = team.agreed(own_losses, preemption.asked)
            preemption.asked = asked
            norm = optimizer.clip()
            if torch.isfinite(losses).all() and torch.isfinite(norm):
                optimizer.step(step)
                for follower in (average, *job.companions):
                    follower.follow(network, step)
                progress.take(losses, _sigma(times), params.steps, last=last)
            else:
                rows = [draw.row for draw in batches.draws(step)]
                if len(progress.skipped) == params.skip_nonfinite:
                    checkpoints.wait()
                    raise FrostlineError(failing.not_finite(job, step, rows, losses, norm, checkpoints.newest))
                optimizer.forget()
                progress.skip(last=last)
            attendant.judge(step, moved=step not in progress.skipped[-1:])

            meter.count(batch)
            bar.update()
            _hear(job, progress)
            if last or meter.due():
                bar.set_postfix({**_loss(progress), **meter.look(), **_skips(progress)}, refresh=last)
            best = False
            if progress.step % validate_every == 0 or last:
                with average.shown() as shown:
                    best = progress.validated(validation.losses(job, shown)) and params.keep.best > 0 and not last
                    progress.prove(validation.proof(job, shown))
                    validation.preview(job, shown, progress.step)
            if progress.step % params.checkpoint_every == 0 or asked or best:
                _save(job, checkpoints, progress, network, average, optimizer)
            if asked:
                checkpoints.wait()
                preemption.stop_if_asked(str(job.work))

    checkpoints.wait()
    return Outcome(network=average.settled(), progress=progress, maturity=average.maturity(progress.step))


def _placed(job: Job) -> tuple[Transformer, Averaged]:
    """The network in this process's part of it, and the average of all that moves in it."""
    params, team = job.params, job.team
    counts = transformer.parameters(job.network)
    if counts["trainable"] < counts["all"]:
        network = sharding.place(job.network, params.compute, team, offload=job.offload).train()
        return network, OfPart(network, params.ema_decay)
    average = Average(job.network, params.ema_decay)
    sharding.place(average.network, params.compute, team)
    return sharding.place(job.network, params.compute, team).train(), OfAll(average)


def _batches(job: Job) -> Batches:
    """The training's batches; raises WrongUse if one cannot be shared, or a bucket has no rows to validate on."""
    params, team = job.params, job.team
    parts = team.world * params.compute.accumulate
    for name, bucket in job.buckets.items():
        job.dataset.rows(name, "validation")  # refused now, not at the first validation
        if bucket.batch % parts:
            raise WrongUse(
                f"buckets.{name}.batch is {bucket.batch}: {team.world} processes with compute.accumulate "
                f"{params.compute.accumulate} take it in {parts} parts, so use a multiple of {parts}"
            )
    return Batches(
        job.dataset, buckets=job.buckets, steps=params.steps, dropout=params.caption_dropout, seed=params.seed
    )


def _times(job: Job, batches: Batches, step: int) -> Tensor:
    """The times of all rows of a step by their places, float64: (B,), or (B, 2) of jumps."""
    size = batches.buckets[batches.bucket(step)].batch
    return job.times.draw(size, randomness.generator(job.params.seed, step, "sigma"))


def _sigma(times: Tensor) -> Tensor:
    """The sigmas (B,) at which rows are asked."""
    return times if times.ndim == 1 else times[:, 0]


def _learn(job: Job, network: Transformer, batch: Batch, times: Tensor, step: int) -> Tensor:
    """Gradients of this process's rows; gives their losses (b,)."""
    noise, parts = (job.params.seed, step, "noise"), job.params.compute.accumulate
    return gradients.take(job.objective, network, batch, times, noise, team=job.team, parts=parts)


def _hear(job: Job, progress: Progress) -> None:
    """Put what companions tell beside a point that the curve just got, and say once what is to be done about it."""
    point = progress.curve[-1] if progress.curve else None
    if point is None or point["step"] != progress.step:
        return
    for beside in job.companions:
        told = beside.looked()
        before = any(companions.lagging(seen) for seen in progress.curve if seen["step"] > job.params.steps * SETTLED)
        point.update(told)
        remedy = companions.lagging(told)
        settled = progress.step > job.params.steps * SETTLED  # a critic begins as the teacher, far from the student
        if remedy and settled and not before and job.team.leads:
            tqdm.tqdm.write(f"{job.name}: step {progress.step}: {remedy}")


def _save(
    job: Job,
    checkpoints: Checkpoints,
    progress: Progress,
    network: Transformer,
    average: Averaged,
    optimizer: Optimizer,
) -> None:
    looked = [point for point in progress.validation[-1:] if point["step"] == progress.step]
    loss = validation_loss(looked[0]) if looked else None
    checkpoints.save(progress.step, _tensors(job, network, average, optimizer), progress.state(), loss=loss)


def _resume(
    job: Job,
    checkpoints: Checkpoints,
    network: Transformer,
    average: Averaged,
    optimizer: Optimizer,
) -> Progress:
    """Where the newest checkpoint stands, with weights, average and optimiser as they were."""
    tensors = _tensors(job, network, average, optimizer)
    state = checkpoints.restore(tensors)
    if state is None:
        return Progress()
    optimizer.restore(tensors["optimizer"])
    for beside in job.companions:
        beside.restore(tensors)
    if job.team.leads:
        print(f"{job.name}: going on after step {state['step']} of {job.params.steps}", flush=True)
    return Progress.of(state)


def _tensors(job: Job, network: Transformer, average: Averaged, optimizer: Optimizer) -> dict[str, dict[str, Tensor]]:
    return {
        "network": averages.moving(network),
        "average": average.tensors(),
        "optimizer": optimizer.tensors(),
        **{group: named for beside in job.companions for group, named in beside.tensors().items()},
    }


def _loss(progress: Progress) -> dict[str, str]:
    """The mean of the stretch under way, or of the one before; none before a step was taken."""
    loss = progress.loss
    return {} if loss is None else {"loss": f"{loss:.4f}"}


def _skips(progress: Progress) -> dict[str, int]:
    return {"skipped": len(progress.skipped)} if progress.skipped else {}
