"""How a training is looked at while it runs: its loss on held-out rows, and latents of the preview prompts.

Noise and sigmas are keyed by rows and prompts, the same at every look, so nothing here moves the training.
"""

import math

import safetensors.torch
import torch
from torch import Tensor

from frostline import continuation, files, proofs, randomness, sampling, velocities
from frostline.job import Job
from frostline.networks import Transformer
from frostline.store.layout import bucket_of

VALIDATION_ROWS = 64  # per bucket


@torch.no_grad()
def losses(job: Job, network: Transformer) -> dict[str, float]:
    """Loss on held-out rows per bucket, with noise and sigmas that are the same at every validation.

    Rows go through the network as many at a time as in a step's part, shared by all processes as a step's are.
    """
    found = {}
    for bucket in sorted(job.params.buckets):
        rows = job.dataset.rows(bucket, "validation")[:VALIDATION_ROWS].tolist()
        size = max(job.team.world, job.buckets[bucket].batch // job.params.compute.accumulate)
        times = job.times.spread(len(rows))
        parts = [_of_rows(job, network, rows[n : n + size], times[n : n + size]) for n in range(0, len(rows), size)]
        found[bucket] = float(torch.cat(parts).mean())
    return found


def _of_rows(job: Job, network: Transformer, rows: list[int], times: Tensor) -> Tensor:
    """Losses (B,) of rows; where they cannot be shared evenly, the last is computed more than once."""
    team, count = job.team, len(rows)
    filled = [*range(count), *[count - 1] * (math.ceil(count / team.world) * team.world - count)]
    mine = filled[team.rank :: team.world]
    numbers = [rows[place] for place in mine]
    batch = job.dataset.batch(numbers).to(team.device)
    noise = randomness.normal_rows(numbers, batch.shape, job.params.seed, "validation")
    own = job.objective(network, batch, noise.to(team.device), times[mine].to(team.device))
    return team.agreed(own, asked=False)[0][:count].cpu()


def proof(job: Job, network: Transformer) -> dict[str, float] | None:
    """What a student makes beside its teacher's; None for a training that has nothing to be held against."""
    if job.proof is None or job.contract.sampling is None:
        return None
    return proofs.look(job.proof, network, job.process, job.contract.sampling, job.team.device)


@torch.no_grad()
def preview(job: Job, network: Transformer, step: int) -> None:
    """Sample the preview prompts in the first bucket and keep the latents, for `python -m stages.preview` to decode.

    Where clips are continued, those of held-out rows are, as many as there are prompts.
    """
    record = job.contract.sampling
    prompts = job.dataset.prompts()
    if record is None or not prompts:
        return
    bucket, device = min(job.params.buckets), job.team.device
    text, context = torch.cat(list(prompts.values())), None
    shape = job.dataset.space.shape(bucket_of(bucket))
    if continuation.wanted(shape[1], job.process):
        held_out = job.dataset.batch(job.dataset.rows(bucket, "validation")[: len(text)].tolist())
        text, context = held_out.text, continuation.of(held_out.clean.to(device), job.process)
    text = text.to(device)
    noise = randomness.normal_rows(list(range(len(text))), shape, job.params.seed, "preview").to(device)
    guided = record.guidance_form == "external"
    away = job.dataset.negative().to(device).expand_as(text) if guided else None
    velocity = velocities.sampled(
        network, record.guidance, None, process=job.process, text=text, away=away, context=context
    )
    fresh = randomness.generator(job.params.seed, "preview", "fresh", device=device)
    latents = continuation.held(sampling.sampler(record).sample(velocity, noise, generator=fresh), context).cpu()
    if job.team.leads:
        with files.replacing(job.work / "preview" / f"step-{step:08d}.safetensors") as beside:
            safetensors.torch.save_file({"latents": latents}, beside)
