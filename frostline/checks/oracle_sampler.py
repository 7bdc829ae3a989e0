"""D03 oracle-sampler: does the sampler integrate a known velocity to the known data?

The velocity is that of data N(1.5, 0.5^2) (``exact.Gaussian``), so each noise has one right endpoint,
1.5 + 0.5 * noise. Two hundred steps, at a shift of at most 5: a right sampler is not exact in few steps, and at higher
shifts stock UniPC's whole timesteps collide.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from frostline import exact, findings, sampling
from frostline.findings import Bound, Check, Finding

ABOUT = Check(
    id="D03",
    name="oracle-sampler",
    question="Does the sampler integrate a known velocity to the known data?",
    procedure="Sample a closed-form Gaussian in 256 dimensions, 200 steps, shift at most 5; "
    "compare each sample with the right endpoint of its own noise.",
    remedy="Build the sampler from the model's contract (frostline.sampling.sampler) and set nothing beside it: "
    "sign, timestep scale, prediction type, shift and latent scale all come from there.",
    reference="docs/maths.md; frostline/exact.py",
)
BOUNDS = (Bound(measure="pair_error", op="<", value=0.05),)

TEACHER = exact.Gaussian(mean=1.5, std=0.5)
STEPS = 200
HIGHEST_SHIFT = 5.0
SHAPE = (16, 16, 1, 4, 4)  # (B, C, T', H', W'): 256 dimensions


def check(draw: Callable[[Tensor], Tensor], *, generator: torch.Generator) -> Finding:
    """Judge ``draw``, which turns noise (B, C, T', H', W') float32 into samples of ``TEACHER``."""
    noise = torch.randn(SHAPE, generator=generator)
    return findings.judge(ABOUT, {"pair_error": pair_error(draw(noise), noise)}, BOUNDS)


def of_sampler(sampler: sampling.Sampler, *, generator: torch.Generator) -> Finding:
    """Judge a sampler made from a contract, in the form its kind allows."""
    record = sampler.record
    if record.sampler == "renoise":
        return findings.not_applicable(ABOUT, "a re-noising sampler draws fresh noise: no noise has one right endpoint")
    if record.sampler == "flow_map":
        return check(lambda noise: sampler.sample(TEACHER.mean_velocity, noise), generator=generator)
    shift = min(record.shift, HIGHEST_SHIFT)
    return check(lambda noise: sampler.sample(TEACHER.velocity, noise, steps=STEPS, shift=shift), generator=generator)


def pair_error(samples: Tensor, noise: Tensor) -> float:
    """Root mean square distance of samples from the endpoints of their noise, over the data's deviation."""
    distance = samples.to(torch.float64) - TEACHER.endpoint(noise.to(torch.float64))
    return float(distance.square().mean().sqrt()) / TEACHER.std
