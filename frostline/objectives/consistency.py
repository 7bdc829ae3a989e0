"""Discrete consistency: wherever a student is asked on one teacher trajectory, it names the same clean end.

    L = E || f(noised, sigma_j) - stopgrad f_ema(next, sigma_j+1) ||^2
    f(noised, sigma) = noised - sigma * v_theta(noised, sigma),   next = one teacher step from sigma_j to sigma_j+1

The grid's sigmas are those of the sampler and some between them: 48 equal steps in u contain every 1, 2, 3, 4, 6, 8,
12, 16 and 24 equal steps under the same shift. At the last sigma, 0, f is its input, which ties the student to the
teacher.
Source: Song et al., Consistency Models, arXiv:2303.01469, eq. 7 and algorithm 2; with guidance inside the step: Luo
et al., Latent Consistency Models, arXiv:2310.04378, eq. 14.
"""

import torch
from torch import Tensor, nn

from frostline import path, schedule, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.objectives import Objective, squared_error
from frostline.objectives.teaching import Teaching
from frostline.path import VelocityFn

STEPS = 48
EMA_DECAY = 0.99  # of the weights behind the target


def neighbours(sigma: Tensor, shift: float, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Of drawn sigmas (B,) in (0, 1]: the grid's sigma at or above each, where the student is asked, and the next."""
    rising = schedule.grid(steps, shift).flip(0).to(sigma)
    above = torch.searchsorted(rising, sigma.contiguous()).clamp(1, steps)
    return rising[above], rising[above - 1]


def losses(
    student: VelocityFn, average: VelocityFn, teacher: VelocityFn, noised: Tensor, sigma: Tensor, following: Tensor
) -> Tensor:
    """How far the clean ends are apart: (B,).

    ``average`` is the student with averaged weights, asked at ``following`` (B,), the next sigma below ``sigma``.
    """
    with torch.no_grad():
        nearer = path.moved(noised, teacher(noised, sigma), sigma, following)
        target = path.clean(nearer, average(nearer, following), following)
    return squared_error(path.clean(noised, student(noised, sigma), sigma), target)


def objective(process: Process, *, taught: Teaching, average: nn.Module) -> Objective:
    """The loss of one batch on noised latents; ``average`` follows the student's weights by ``EMA_DECAY``."""

    def of_batch(network: nn.Module, batch: Batch, noise: Tensor, sigma: Tensor) -> Tensor:
        here, following = neighbours(sigma, process.shift)
        noised = path.noised(batch.clean, noise, here)
        student, target = (transformer.velocity_fn(of, batch.text, process) for of in (network, average))
        return losses(student, target, taught(batch), noised, here, following)

    return of_batch
