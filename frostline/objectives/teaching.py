"""What a student is taught: the teacher's velocity of one batch, guidance included.

    v_g = v_0 + g (v_c - v_0)

Rows whose caption was dropped keep v_0, and outside the guidance interval the velocity is v_c.
Source of the interval: Kynkaanniemi et al., arXiv:2404.07724, section 3.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from frostline import guidance, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.errors import Refused
from frostline.path import VelocityFn

Teaching = Callable[[Batch], VelocityFn]
"""batch -> the velocity its students learn, without gradients"""


def guided(
    process: Process, *, teacher: nn.Module, null: Tensor, scale: float, interval: tuple[float, float]
) -> Teaching:
    """A teacher's guided velocity; ``null`` is the null prompt's embedding (1, L, D), ``interval`` the guided sigmas.

    Puts the teacher into evaluation mode; the velocity raises Refused if it has left it since, because a student would
    learn its dropout as if it were the truth.
    """
    teacher.eval()

    def of_batch(batch: Batch) -> VelocityFn:
        conditional = transformer.velocity_fn(teacher, batch.text, process)
        unconditional = transformer.velocity_fn(teacher, null.expand_as(batch.text), process)

        @torch.no_grad()
        def velocity(noised: Tensor, sigma: Tensor) -> Tensor:
            require_evaluating(teacher)
            return _where_guided(conditional, unconditional, batch.dropped, scale, interval)(noised, sigma)

        return velocity

    return of_batch


def require_evaluating(teacher: nn.Module) -> None:
    """Raise Refused for a teacher in training mode."""
    if teacher.training:
        raise Refused("the teacher is in training mode, so its dropout acts: call `teacher.eval()` before distilling")


def _where_guided(
    conditional: VelocityFn, unconditional: VelocityFn, dropped: Tensor, scale: float, interval: tuple[float, float]
) -> VelocityFn:
    low, high = interval

    def velocity(noised: Tensor, sigma: Tensor) -> Tensor:
        plain = conditional(noised, sigma)
        both = guidance.combine(unconditional(noised, sigma), plain, scale)
        rows = (sigma >= low) & (sigma <= high) & ~dropped.to(sigma.device)
        return torch.where(rows.view(-1, *[1] * (noised.ndim - 1)), both, plain)

    return velocity
