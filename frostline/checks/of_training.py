"""Whether a training and its sampler speak of one and the same path: D03, D04, D05."""

from torch import Tensor

from frostline import path, randomness, schedule, trainings, transformer
from frostline import sampling as samplers
from frostline.checks import forward_contract, oracle_sampler, schedule_coverage
from frostline.checks.findings import Finding
from frostline.contract import Process, Sampling
from frostline.dataset import Dataset
from frostline.params import LoopParams, StudentParams, TrainParams

DRAWS = 100_000
BATCH = 16


def findings(dataset: Dataset, loop: TrainParams | StudentParams) -> list[Finding]:
    """Findings for one training or distillation of params.yaml."""
    process = trainings.process(loop, patch_size=(1, 1, 1))  # none of these checks looks at patches
    record = trainings.sampling(loop, guidance=1.0, form="folded", teacher=None)
    return [
        _forward(dataset, loop, process, record),
        _coverage(process, record),
        oracle_sampler.of_sampler(samplers.sampler(record), generator=randomness.generator("preflight", "oracle")),
    ]


def _forward(dataset: Dataset, loop: LoopParams, process: Process, record: Sampling) -> Finding:
    bucket = min(loop.buckets)
    batch = dataset.batch(dataset.rows(bucket, "train")[:BATCH])
    noise = randomness.normal_rows(list(batch.rows), batch.clean.shape[1:], "preflight")
    sigma = schedule.DRAWS[process.draws](len(batch.rows), process.shift, randomness.generator("preflight", "sigma"))
    return forward_contract.check(
        clean=batch.clean,
        noise=noise,
        sigma=sigma,
        noised=path.noised(batch.clean, noise, sigma),
        target=path.velocity(batch.clean, noise),
        timestep=transformer.timestep(sigma, process),
        sampler_sigmas=samplers.sampler(record).sigmas(record.steps, record.shift),
    )


def _coverage(process: Process, record: Sampling) -> Finding:
    draws = schedule.DRAWS[process.draws](DRAWS, process.shift, randomness.generator("preflight", "coverage"))
    intended = samplers.sampler(record).sigmas(record.steps, record.shift)
    return schedule_coverage.check(
        draws=draws,
        sampler_sigmas=_visited(record, intended),
        intended_sigmas=intended,
        expert_boundary=process.expert_boundary,
    )


def _visited(record: Sampling, intended: Tensor) -> Tensor:
    """The sigmas of the scheduler that goes into the model folder, as it makes them when asked for steps alone."""
    scheduler = samplers.stock_scheduler(record)
    if scheduler is None:
        return intended
    scheduler.set_timesteps(record.steps)
    return scheduler.sigmas
