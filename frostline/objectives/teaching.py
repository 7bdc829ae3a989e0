"""What a student is taught: the teacher's velocity of one batch, guidance included.

    v_g = v_0 + g (v_c - v_0)

Outside the guidance interval the velocity is v_c. Rows whose caption was dropped have the null prompt for theirs, and
keep its v_c, which is v_0 unless guidance steers away from a negative prompt.
Source of the interval: Kynkaanniemi et al., arXiv:2404.07724, section 3.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from frostline import experts, guidance, transformer, velocities
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.errors import Refused
from frostline.experts import Agreed
from frostline.path import VelocityFn
from frostline.velocities import Low

Teaching = Callable[[Batch], VelocityFn]
"""batch -> the velocity its students learn, without gradients"""


def guided(
    process: Process,
    *,
    teacher: nn.Module,
    null: Tensor,
    scale: float,
    interval: tuple[float, float],
    low: Low | None = None,
    agreed: Agreed = experts.alone,
) -> Teaching:
    """A teacher's guided velocity; ``null`` is the embedding (1, L, D) that v_0 is of, ``interval`` the guided sigmas.

    ``null`` is that of the null prompt, or of a negative prompt in its place. Of two experts ``teacher`` and ``scale``
    are the high-noise one's, ``low`` is the other, and ``agreed`` is what ``experts.routed`` asks.
    Puts the teacher into evaluation mode; the velocity raises Refused if it has left it since, because a student would
    learn its dropout as if it were the truth.
    """
    both = [teacher, *([] if low is None else [low.network])]
    for one in both:
        one.eval()

    def of_batch(batch: Batch) -> VelocityFn:
        def guided(one: nn.Module, scale: float) -> VelocityFn:
            conditional = transformer.velocity_fn(one, batch.text, process)
            unconditional = transformer.velocity_fn(one, null.expand_as(batch.text), process)
            return _where_guided(conditional, unconditional, batch.dropped, scale, interval)

        asked = velocities.served(teacher, scale, low, guided, agreed)

        @torch.no_grad()
        def velocity(noised: Tensor, sigma: Tensor) -> Tensor:
            for one in both:
                require_evaluating(one)
            return asked(noised, sigma)

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
