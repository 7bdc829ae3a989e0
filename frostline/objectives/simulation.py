"""Backward simulation: what a student of few steps makes of noise, by the sampler that will sample it.

    asked   where a step begins: what the student itself made of the steps before it, noised again
    made    the clean latents of that step

A student that is trained on inputs noised from data is trained where it is never sampled. Gradients come from the last
step alone.
Source: Yin et al., Improved Distribution Matching Distillation, arXiv:2405.14867, section 4.5.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from frostline import path, randomness, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.errors import WrongUse
from frostline.objectives import times
from frostline.path import VelocityFn

Fresh = Callable[[int], Tensor]
"""number of a step (from 0) -> the standard normal numbers (B, ...) that are added after it"""


class Asked(NamedTuple):
    """Where a step of the student begins."""

    noised: Tensor  # (B, ...)
    sigma: Tensor  # (B,)


@torch.no_grad()
def simulated(student: VelocityFn, noise: Tensor, sigmas: Tensor, step: int, fresh: Fresh) -> Asked:
    """The input of step ``step`` (from 0) of the sampler ``renoise`` on falling ``sigmas`` (K,), which begin at 1."""
    if not 0 <= step < len(sigmas) or float(sigmas[0]) != 1.0:
        raise WrongUse(f"step {step} of sigmas {sigmas.tolist()}: one of them, and the first must be 1")
    rows, noised = noise.shape[0], noise
    for number, (here, there) in enumerate(itertools.pairwise(sigmas[: step + 1])):
        clean = path.clean(noised, student(noised, here.expand(rows)), here)
        noised = path.noised(clean, fresh(number), there)
    return Asked(noised, sigmas[step].expand(rows))


def made(student: VelocityFn, asked: Asked) -> Tensor:
    """The clean latents (B, ...) of one step, with gradients."""
    return path.clean(asked.noised, student(*asked), asked.sigma)


def of_batch(
    network: nn.Module, batch: Batch, noise: Tensor, drawn: Tensor, process: Process, sigmas: Sequence[float]
) -> Tensor:
    """The clean latents (B, ...) a network makes of noise and a batch's captions; ``drawn`` (B, 3) is of ``Simulated``.

    The last of its steps leaves gradients; what is added between them is a function of each row's own key.
    """
    student = transformer.velocity_fn(network, batch.text, process)
    visited = torch.tensor(sigmas, dtype=torch.float64, device=noise.device)
    step = int(drawn[0, times.STEP])
    asked = simulated(student, noise, visited, step, lambda number: normal(drawn, noise, "added", number))
    return made(student, asked)


def normal(drawn: Tensor, like: Tensor, *purpose: str | int) -> Tensor:
    """Standard normal numbers (B, ...) for one purpose, of rows whose keys ``drawn`` holds."""
    keys = [int(key) for key in drawn[:, times.KEY].tolist()]
    return randomness.normal_rows(keys, tuple(like.shape[1:]), *purpose).to(like.device)
