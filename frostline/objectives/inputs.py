"""Where a student is asked: the points at which teacher and student are compared.

    cached latents   noised = (1 - sigma) clean + sigma noise, from data
    rollouts         noise carried from sigma 1 to each row's own sigma along a velocity: the teacher's (its
    trajectories)
                     or the student's own, which is where it will be when it is sampled

Pure noise is an input at sigma = 1 and nowhere else: at a lower sigma no sampler ever shows it, and a student trained
there learns nothing of use.
Own rollouts: Ross et al., arXiv:1011.0686 (learning where the learner goes); for diffusion Huang et al.,
arXiv:2506.08009.
"""

from typing import Literal

import torch
from torch import Tensor

from frostline import path, schedule
from frostline.path import VelocityFn

Kind = Literal["latents", "teacher", "student"]
"""Cached latents, or rollouts along the teacher's velocity or the student's own."""


@torch.no_grad()
def rolled_out(velocity_fn: VelocityFn, noise: Tensor, sigma: Tensor, *, steps: int, shift: float) -> Tensor:
    """Noise (B, ...) carried to each row's own sigma (B,) in ``steps`` Euler steps, equal in u, shifted.

    Rows at sigma 1 stay the noise they are.
    """
    here, points = torch.ones_like(sigma), schedule.grid(steps, shift).to(sigma)
    noised = noise
    for share in points[1:]:
        there = sigma + (1 - sigma) * share
        noised = path.moved(noised, velocity_fn(noised, here), here, there)
        here = there
    return noised
