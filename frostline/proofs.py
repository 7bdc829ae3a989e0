"""What a student makes beside what its teacher makes of the same noise and captions: measured while it learns.

    endpoint    root mean square difference of latents, in deviations of the teacher's; of samplers that add no noise
    drift       the most that the mean of a channel is off, in deviations of the teacher's
    spread      deviation of all latents over the teacher's
    diversity   root mean square distance between two samples, over the teacher's
    saturation  share of numbers as large as the largest thousandth of the teacher's: .001 is as many

A loss is measured where a student learns; these are measured where it is sampled. Captions are held out and the noise
is the same at every look, so nothing here moves the training.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from frostline import randomness, sampling, velocities
from frostline.contract import Process, Sampling
from frostline.networks import Transformer

EXTREME = 1e-3  # share of the teacher's numbers
ADDS_NOISE = "renoise"  # the sampler whose end is not that of its first noise


@dataclass(frozen=True, kw_only=True, eq=False)
class Proof:
    """What a teacher makes of noise and captions; on the CPU."""

    noise: Tensor  # (N, C, T, H, W)
    text: Tensor  # (N, L, D)
    truth: Tensor  # (N, C, T, H, W)
    at_once: int  # rows that go through a network together
    seed: int


@torch.no_grad()
def look(
    proof: Proof, network: Transformer, process: Process, record: Sampling, device: torch.device
) -> dict[str, float]:
    """The figures of a student's network as it stands, sampled as its contract says."""
    sampler, made = sampling.sampler(record), []
    for start in range(0, len(proof.noise), proof.at_once):
        rows = range(start, min(start + proof.at_once, len(proof.noise)))
        noise, text = (tensor[start : rows.stop].to(device) for tensor in (proof.noise, proof.text))
        velocity = velocities.sampled(network, record.guidance, None, process=process, text=text, away=None)
        fresh = [randomness.generator(proof.seed, "proof", row, device=device) for row in rows]
        made.append(sampler.sample(velocity, noise, generator=fresh).cpu())
    return compared(torch.cat(made), proof.truth, adds_noise=record.sampler == ADDS_NOISE)


def compared(made: Tensor, truth: Tensor, *, adds_noise: bool) -> dict[str, float]:
    """The figures of what a student made (N, C, ...) beside its teacher's, N at least 2."""
    deviation = truth.std()
    means = [latents.transpose(0, 1).flatten(1).mean(1) for latents in (made, truth)]
    sizes = truth.abs().flatten()
    largest = sizes.topk(max(1, round(EXTREME * len(sizes)))).values[-1]
    found = {
        "drift": float((means[0] - means[1]).abs().max() / deviation),
        "spread": float(made.std() / deviation),
        "diversity": _apart(made) / _apart(truth),
        "saturation": float((made.abs() >= largest).double().mean()),
    }
    return found if adds_noise else {"endpoint": relative_rmse(made, truth), **found}


def relative_rmse(found: Tensor, wanted: Tensor) -> float:
    """Root mean square difference of two tensors in standard deviations of the second."""
    return float((found.double() - wanted.double()).square().mean().sqrt() / wanted.double().std())


def _apart(latents: Tensor) -> float:
    """Root mean square distance between each sample and the next."""
    return float((latents - latents.roll(1, 0)).square().mean().sqrt())
