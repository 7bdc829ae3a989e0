"""Whether a training and its sampler speak of one and the same path: D03, D04, D05; and whether it has rows at all."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frostline import diffusion, path, randomness, schedule, trainings
from frostline import sampling as samplers
from frostline.checks import forward_contract, oracle_sampler, schedule_coverage
from frostline.contract import Process, Sampling
from frostline.dataset import Batch, Dataset
from frostline.findings import Finding
from frostline.objectives import Objective, teaching, velocity_matching
from frostline.params.trainings import LoopParams, StudentParams

DRAWS = 100_000
BATCH = 16


def findings(dataset: Dataset, loop: LoopParams) -> list[Finding]:
    """Findings for one training or distillation of params.yaml.

    Of a student of few steps only its sampler is judged: it learns at the sigmas of that alone, or at all, evenly, from
    noise to the clean end; and trajectories that it learns from need not be made yet.
    Raises WrongUse, naming it, for a bucket that has no rows to train or to validate on.
    """
    student = loop if isinstance(loop, StudentParams) else None
    for bucket in () if student and student.follows and not dataset.trajectories else loop.buckets:
        for split in ("train", "validation"):
            dataset.rows(bucket, split)
    without = loop.model_copy(update={"context": None})  # none of these checks looks at a context, nor at patches
    process = trainings.process(without, patch_size=(1, 1, 1))
    record = trainings.sampling(loop, scales=(1.0,), form="folded", teacher=None)
    few = student is not None and student.objective != "velocity_matching"
    drawn = [] if few else [_forward(dataset, loop, process, record), _coverage(process, record)]
    oracle = randomness.generator("preflight", "oracle")
    return [*drawn, oracle_sampler.of_sampler(samplers.sampler(record), generator=oracle)]


def _forward(dataset: Dataset, loop: LoopParams, process: Process, record: Sampling) -> Finding:
    """What the training's own objective gives a network to see and to learn, on one batch."""
    bucket = min(loop.buckets)
    batch = dataset.batch(dataset.rows(bucket, "train")[:BATCH].tolist())
    noise = randomness.normal_rows(list(batch.rows), batch.clean.shape[1:], "preflight")
    sigma = _drawn(process, len(batch.rows), "sigma")
    seen = _seen(_objective(dataset, loop, process, path.velocity(batch.clean, noise)), batch, noise, sigma)
    return forward_contract.check(
        clean=batch.clean,
        noise=noise,
        sigma=sigma,
        noised=seen.noised,
        target=seen.target,
        timestep=seen.timestep,
        sampler_sigmas=samplers.sampler(record).sigmas(record.steps, record.shift),
        process=process,
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    noised: Tensor
    timestep: Tensor
    target: Tensor


class _Recorder(nn.Module):
    """A network that remembers what it was given and always says ``answer``."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer
        self.given: list[tuple[Tensor, Tensor]] = []

    def forward(self, noised: Tensor, timestep: Tensor, *_: object, **__: object) -> tuple[Tensor]:
        self.given.append((noised, timestep))
        return (self.answer,)


def _objective(dataset: Dataset, loop: LoopParams, process: Process, velocity: Tensor) -> Objective:
    """The objective the stage trains with; a student's teacher is replaced by the true velocity of the batch."""
    if not isinstance(loop, StudentParams):
        return trainings.objective(process)
    taught = teaching.guided(
        process,
        teacher=_Recorder(velocity),
        null=dataset.negative(),
        scale=loop.scales[0],
        interval=loop.guidance_interval,
    )
    return velocity_matching.objective(process, taught=taught)


def _seen(objective: Objective, batch: Batch, noise: Tensor, sigma: Tensor) -> _Seen:
    """Read off the target from the gradient: of a row's mean squared error at 0 it is -2 target / n."""
    network = _Recorder(torch.zeros_like(batch.clean, requires_grad=True))
    (gradient,) = torch.autograd.grad(objective(network, batch, noise, sigma).sum(), network.answer)
    ((noised, timestep),) = network.given
    return _Seen(noised=noised, timestep=timestep, target=-gradient * batch.clean[0].numel() / 2)


def _coverage(process: Process, record: Sampling) -> Finding:
    draws = _drawn(process, DRAWS, "coverage")
    intended = samplers.sampler(record).sigmas(record.steps, record.shift)
    return schedule_coverage.check(
        draws=draws,
        sampler_sigmas=_visited(record, intended),
        intended_sigmas=intended,
        expert_boundary=process.expert_boundary,
        end=diffusion.end(process),
    )


def _drawn(process: Process, count: int, purpose: str) -> Tensor:
    """Sigmas (count,) as the training draws them."""
    draw = randomness.generator("preflight", purpose)
    return diffusion.within(schedule.DRAWS[process.draws](count, process.shift, draw), process)


def _visited(record: Sampling, intended: Tensor) -> Tensor:
    """The sigmas of the scheduler that goes into the model folder, as it makes them when asked for steps alone."""
    scheduler = samplers.stock_scheduler(record)
    if scheduler is None:
        return intended
    scheduler.set_timesteps(record.steps)
    return scheduler.sigmas
