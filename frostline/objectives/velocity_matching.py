"""Velocity matching: a student learns its teacher's guided velocity, so that one evaluation does the work of two.

    L = E || v_theta(noised, sigma, text) - stopgrad v_g ||^2        v_g = v_0 + g (v_c - v_0)

Inputs are real cached latents noised on the trained path, or points of rollouts (``inputs``); pure noise is an input at
sigma = 1 only. Rows whose caption was dropped keep the target v_0, and outside the guidance interval the target is v_c.
Source: Meng et al., On Distillation of Guided Diffusion Models, arXiv:2210.03142, eq. 3 (stage one, one fixed weight);
interval: Kynkaanniemi et al., arXiv:2404.07724, section 3.
"""

import torch
from torch import Tensor, nn

from frostline import path, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.objectives import Objective, squared_error, teaching
from frostline.path import VelocityFn


def losses(student: VelocityFn, teacher: VelocityFn, noised: Tensor, sigma: Tensor) -> Tensor:
    """How far the student's velocity is from the teacher's at given points: (B,)."""
    with torch.no_grad():
        target = teacher(noised, sigma)
    return squared_error(student(noised, sigma), target)


def objective(
    process: Process, *, teacher: nn.Module, null: Tensor, scale: float, interval: tuple[float, float]
) -> Objective:
    """The loss of one batch; ``null`` is the null prompt's embedding (1, L, D), ``interval`` the guided sigmas."""
    taught = teaching.guided(process, teacher=teacher, null=null, scale=scale, interval=interval)

    def of_batch(network: nn.Module, batch: Batch, noise: Tensor, sigma: Tensor) -> Tensor:
        noised = path.noised(batch.clean, noise, sigma)
        return losses(transformer.velocity_fn(network, batch.text, process), taught(batch), noised, sigma)

    return of_batch
