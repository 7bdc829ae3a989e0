"""Velocity matching: a student learns its teacher's guided velocity, so that one evaluation does the work of two.

    L = E || v_theta(noised, sigma, text) - stopgrad v_g ||^2        v_g = v_0 + g (v_c - v_0)

Inputs are real cached latents noised on the trained path, or points of rollouts (``inputs``); pure noise is an input at
sigma = 1 only. Rows whose caption was dropped have the null prompt in its place and keep its v_c as their target;
outside the guidance interval the target is v_c too.
Source: Meng et al., On Distillation of Guided Diffusion Models, arXiv:2210.03142, eq. 3 (stage one, one fixed weight);
interval: Kynkaanniemi et al., arXiv:2404.07724, section 3.
"""

import torch
from torch import Tensor, nn

from frostline import path, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.objectives import Objective, inputs, squared_error
from frostline.objectives.teaching import Teaching
from frostline.path import VelocityFn

ROLLOUT_STEPS = 8


def losses(student: VelocityFn, teacher: VelocityFn, noised: Tensor, sigma: Tensor) -> Tensor:
    """How far the student's velocity is from the teacher's at given points: (B,)."""
    with torch.no_grad():
        target = teacher(noised, sigma)
    return squared_error(student(noised, sigma), target)


def objective(
    process: Process, *, taught: Teaching, asked_at: inputs.Kind = "latents", rollout_steps: int = ROLLOUT_STEPS
) -> Objective:
    """The loss of one batch.

    ``asked_at`` says where the student is asked: on noised latents, or on rollouts of ``rollout_steps`` from noise,
    along the teacher's velocity or its own.
    """

    def of_batch(network: nn.Module, batch: Batch, noise: Tensor, sigma: Tensor) -> Tensor:
        student, truth = transformer.velocity_fn(network, batch.text, process), taught(batch)
        if asked_at == "latents":
            return losses(student, truth, path.noised(batch.clean, noise, sigma), sigma)
        followed = truth if asked_at == "teacher" else student
        noised = inputs.rolled_out(followed, noise, sigma, steps=rollout_steps, shift=process.shift)
        return losses(student, truth, noised, sigma)

    return of_batch
