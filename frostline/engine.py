"""The training loop, shared by train and distill: one step after the other, resumable to the bit.

It is given a network and an objective and knows neither VAE nor text encoder: what it reads are cached latents and
embeddings. Every random number is a function of (seed, step, row, purpose), so validation, previews and a resume
change nothing. Precision: weights, gradients and optimiser in float32, sigmas in float64.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import tqdm
from diffusers import WanTransformer3DModel
from torch import Tensor

from frostline import checkpoints, contract, files, guidance, loading, randomness, sampling, schedule, transformer
from frostline.batches import Batches
from frostline.dataset import Dataset
from frostline.ema import Average
from frostline.errors import FrostlineError
from frostline.objectives import Objective
from frostline.optimizer import Optimizer
from frostline.params.trainings import LoopParams
from frostline.store.layout import bucket_of
from frostline.workspace import Preemption

VALIDATION_ROWS = 64  # per bucket
CURVE_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training: what moves, towards what, on which rows."""

    name: str
    network: WanTransformer3DModel
    objective: Objective
    dataset: Dataset
    params: LoopParams
    contract: contract.Contract
    identity: dict[str, Any]  # what a checkpoint must agree with, beside the dataset
    work: Path

    @property
    def belongs_to(self) -> dict[str, Any]:
        """What a checkpoint must agree with: a step counts in one dataset and means nothing in another."""
        return {"dataset": self.dataset.digest, **self.identity}


@dataclass(kw_only=True)
class Progress:
    """What a training remembers of itself."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)  # step, loss: means over equal stretches
    validation: list[dict[str, float]] = field(default_factory=list)  # step, loss per bucket


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training made."""

    network: WanTransformer3DModel  # the average: what is sampled
    progress: Progress


def run(job: Job) -> Outcome:
    """Train until the planned end or ``stop_at``; goes on from the newest checkpoint in the work folder.

    Raises Preempted after SIGTERM, with a checkpoint written; FrostlineError for a loss that is no number.
    """
    params, process = job.params, _process(job)
    torch.set_num_threads(params.threads)
    batches = Batches(
        job.dataset,
        buckets=params.buckets,
        steps=params.steps,
        dropout=params.caption_dropout,
        seed=params.seed,
    )
    for bucket in params.buckets:
        job.dataset.rows(bucket, "validation")  # a bucket without them is refused now, not at the first validation
    validate_every = params.validate_every.in_steps(batches.steps_per_epoch)
    end = params.steps if params.stop_at is None else min(params.stop_at, params.steps)
    stretch = max(1, params.steps // CURVE_POINTS)
    network = job.network.train()
    optimizer = Optimizer(network, params.optimizer, params.steps)
    average = Average(network, params.ema_decay)
    progress = _resume(job, network, average, optimizer)
    preemption = Preemption()
    readers = loading.readers(batches, threads=params.threads)
    with (
        contextlib.closing(loading.read(batches, progress.step, end, readers=readers)) as read,
        tqdm.tqdm(total=end, initial=progress.step, desc=job.name, unit="step", mininterval=2.0) as bar,
    ):
        for batch in read:
            step = progress.step
            size = len(batch.rows)
            noise = randomness.normal_rows(list(range(size)), batch.clean.shape[1:], params.seed, step, "noise")
            draw = randomness.generator(params.seed, step, "sigma")
            sigma = schedule.DRAWS[process.draws](size, process.shift, draw)

            loss = job.objective(network, batch, noise, sigma).mean()
            if not torch.isfinite(loss):
                raise FrostlineError(_not_finite(job, step, batch.rows, loss.item()))
            loss.backward()
            optimizer.step(step)
            average.follow(network, step)

            progress.step += 1
            progress.losses.append(loss.item())
            bar.update()
            if progress.step % stretch == 0 or progress.step == end:
                progress.curve.append({"step": progress.step, "loss": _mean(progress.losses)})
                bar.set_postfix(loss=f"{progress.curve[-1]['loss']:.4f}", refresh=False)
                progress.losses.clear()
            if progress.step % validate_every == 0 or progress.step == end:
                progress.validation.append({"step": progress.step, **validate(job, average.network)})
                preview(job, average.network, progress.step)
            if progress.step % params.checkpoint_every == 0 or preemption.asked:
                _save(job, network, average, optimizer, progress)
            preemption.stop_if_asked(str(job.work))

    return Outcome(network=average.network, progress=progress)


@torch.no_grad()
def validate(job: Job, network: WanTransformer3DModel) -> dict[str, float]:
    """Loss on held-out rows per bucket, with noise and sigmas that are the same at every validation."""
    found = {}
    for bucket in sorted(job.params.buckets):
        rows = job.dataset.rows(bucket, "validation")[:VALIDATION_ROWS].tolist()
        batch = job.dataset.batch(rows)
        noise = randomness.normal_rows(rows, batch.clean.shape[1:], job.params.seed, "validation")
        middle = (torch.arange(len(rows), dtype=torch.float64) + 0.5) / len(rows)
        sigma = schedule.shift(middle, _process(job).shift)
        found[bucket] = float(job.objective(network, batch, noise, sigma).mean())
    return found


@torch.no_grad()
def preview(job: Job, network: WanTransformer3DModel, step: int) -> None:
    """Sample the preview prompts in the first bucket and keep the latents, for `python -m stages.preview` to decode."""
    record = job.contract.sampling
    prompts = job.dataset.prompts()
    if record is None or not prompts:
        return
    bucket = min(job.params.buckets)
    text, process = torch.cat(list(prompts.values())), _process(job)
    noise = randomness.normal_rows(
        list(range(len(text))), job.dataset.space.shape(bucket_of(bucket)), job.params.seed, "preview"
    )
    velocity = transformer.velocity_fn(network, text, process)
    if record.guidance_form == "external":
        null = transformer.velocity_fn(network, job.dataset.null().expand_as(text), process)
        velocity = guidance.guided(velocity, null, record.guidance)
    fresh = randomness.generator(job.params.seed, "preview", "fresh")
    latents = sampling.sampler(record).sample(velocity, noise, generator=fresh)
    with files.replacing(job.work / "preview" / f"step-{step:08d}.safetensors") as beside:
        safetensors.torch.save_file({"latents": latents}, beside)


def _process(job: Job) -> contract.Process:
    if job.contract.process is None:
        raise FrostlineError(f"{job.name}: a training needs the process part of a contract")
    return job.contract.process


def _save(
    job: Job,
    network: WanTransformer3DModel,
    average: Average[WanTransformer3DModel],
    optimizer: Optimizer,
    progress: Progress,
) -> None:
    groups = {
        "network": network.state_dict(),
        "average": average.network.state_dict(),
        "optimizer": optimizer.tensors(),
    }
    tensors = {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
    state = {"identity": job.belongs_to, "losses": progress.losses, "curve": progress.curve}
    checkpoints.save(job.work, progress.step, tensors, {**state, "validation": progress.validation})


def _resume(
    job: Job, network: WanTransformer3DModel, average: Average[WanTransformer3DModel], optimizer: Optimizer
) -> Progress:
    found = checkpoints.latest(job.work, job.belongs_to)
    if found is None:
        return Progress()
    tensors, state = found
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        group, rest = name.split("/", 1)
        groups[group][rest] = tensor
    network.load_state_dict(groups["network"], strict=True)
    average.network.load_state_dict(groups["average"], strict=True)
    optimizer.restore(groups["optimizer"])
    print(f"{job.name}: going on after step {state['step']} of {job.params.steps}", flush=True)
    return Progress(step=state["step"], losses=state["losses"], curve=state["curve"], validation=state["validation"])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _not_finite(job: Job, step: int, rows: tuple[int, ...], loss: float) -> str:
    ids = job.dataset.ids("id")
    items = [ids[row] for row in rows]
    return (
        f"{job.name}: the loss of step {step} is {loss}; its rows are {items}. Checkpoints in {job.work} are from "
        "before; lower the rates in optimizer, or look at these items"
    )
