"""Distribution matching: what a few-step student makes moves to where the teacher finds it likelier than the critic.

    made    = the student's clean latent after j steps of its own sampler, from prompts and noise alone
    noised  = made at a drawn sigma, in [.02, .98]
    grad    = (clean_fake - clean_real) / mean |made - clean_real|      per row
    L       = 1/2 || made - stopgrad(made - grad) ||^2

clean_real and clean_fake are the teacher's and the critic's clean ends of noised. Backward simulation: the input of
step j is what the student itself made of j - 1 steps, noised again, as the sampler ``renoise`` will do; inputs noised
from data would train it where it is never sampled. L is no measure of quality: its size is the gradient's.
Source: Yin et al., One-step Diffusion with Distribution Matching Distillation, arXiv:2311.18828, eq. 7 and 8;
Improved Distribution Matching Distillation, arXiv:2405.14867, sections 4.1 (two time scales) and 4.5 (backward
simulation). No GAN.
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from frostline import path, schedule
from frostline.errors import WrongUse
from frostline.path import VelocityFn

CLAMP = (0.02, 0.98)  # of the sigmas at which teacher and critic are compared
GENERATOR_EVERY = 5  # steps of the critic for one of the student


class Asked(NamedTuple):
    """Where a step of the student begins."""

    noised: Tensor  # (B, ...)
    sigma: Tensor  # (B,)


@torch.no_grad()
def simulated(student: VelocityFn, noise: Tensor, sigmas: Tensor, step: int, generator: torch.Generator) -> Asked:
    """The input of step ``step`` (from 0) of the sampler ``renoise`` on falling ``sigmas`` (K,), which begin at 1."""
    if not 0 <= step < len(sigmas) or float(sigmas[0]) != 1.0:
        raise WrongUse(f"step {step} of sigmas {sigmas.tolist()}: one of them, and the first must be 1")
    rows, noised = noise.shape[0], noise
    for here, there in itertools.pairwise(sigmas[: step + 1]):
        clean = path.clean(noised, student(noised, here.expand(rows)), here)
        fresh = torch.randn(noise.shape, generator=generator, dtype=noise.dtype, device=noise.device)
        noised = path.noised(clean, fresh, there)
    return Asked(noised, sigmas[step].expand(rows))


def made(student: VelocityFn, asked: Asked) -> Tensor:
    """The clean latents (B, ...) of one step, with gradients."""
    return path.clean(asked.noised, student(*asked), asked.sigma)


def draw_sigma(rows: int, shift: float, generator: torch.Generator) -> Tensor:
    """Where teacher and critic are compared (B,): uniform in u, shifted, clamped."""
    return schedule.draw_uniform(rows, shift, generator).clamp(*CLAMP)


@torch.no_grad()
def gradient(teacher: VelocityFn, critic: VelocityFn, clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Where clean latents (B, ...) should not go: from the teacher's clean end to the critic's, in each row's size."""
    noised = path.noised(clean, noise, sigma)
    real = path.clean(noised, teacher(noised, sigma), sigma)
    fake = path.clean(noised, critic(noised, sigma), sigma)
    size = (clean - real).abs().flatten(1).mean(1)
    return (fake - real) / path.broadcast(size.clamp(min=torch.finfo(size.dtype).tiny), clean)


def losses(teacher: VelocityFn, critic: VelocityFn, clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """A loss per row (B,) whose gradient by ``clean`` is ``gradient``, divided by the numbers in a row."""
    target = (clean - gradient(teacher, critic, clean, noise, sigma)).detach()
    return 0.5 * (clean.float() - target.float()).square().flatten(1).mean(1)
