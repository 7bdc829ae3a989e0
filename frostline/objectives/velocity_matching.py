"""Velocity matching: a student learns its teacher's guided velocity, so that one evaluation does the work of two.

    L = E || v_theta(noised, sigma, text) - stopgrad v_g ||^2        v_g = v_0 + g (v_c - v_0)

Inputs are real cached latents noised on the trained path; pure noise is an input at sigma = 1 only. Rows whose caption
was dropped keep the target v_0, and outside the guidance interval the target is v_c.
Source: Meng et al., On Distillation of Guided Diffusion Models, arXiv:2210.03142, eq. 3 (stage one, one fixed weight);
interval: Kynkaanniemi et al., arXiv:2404.07724, section 3.
"""

import torch
from torch import Tensor, nn

from frostline import guidance, path, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.objectives import Objective, squared_error


def objective(
    process: Process, *, teacher: nn.Module, null: Tensor, scale: float, interval: tuple[float, float]
) -> Objective:
    """The loss of one batch; ``null`` is the null prompt's embedding (1, L, D), ``interval`` the guided sigmas."""

    def losses(network: nn.Module, batch: Batch, noise: Tensor, sigma: Tensor) -> Tensor:
        noised = path.noised(batch.clean, noise, sigma)
        with torch.no_grad():
            target = guided_target(process, teacher, batch, null, noised, sigma, scale, interval)
        predicted = transformer.velocity_fn(network, batch.text, process)(noised, sigma)
        return squared_error(predicted, target)

    return losses


def guided_target(
    process: Process,
    teacher: nn.Module,
    batch: Batch,
    null: Tensor,
    noised: Tensor,
    sigma: Tensor,
    scale: float,
    interval: tuple[float, float],
) -> Tensor:
    """The teacher's velocity (B, ...): guided inside the interval, plain outside it and for dropped captions."""
    conditional = transformer.velocity_fn(teacher, batch.text, process)(noised, sigma)
    unconditional = transformer.velocity_fn(teacher, null.expand_as(batch.text), process)(noised, sigma)
    low, high = interval
    guided = (sigma >= low) & (sigma <= high) & ~batch.dropped.to(sigma.device)
    rows = guided.view(-1, *[1] * (noised.ndim - 1))
    return torch.where(rows, guidance.combine(unconditional, conditional, scale), conditional)
