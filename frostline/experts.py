"""Two-expert teachers: which expert serves a sigma, decided in one place for trainer, distiller and sampler.

Legend
    high, low   the experts, each a VelocityFn, with their own guidance already in them
    boundary    sigma from which the high-noise expert serves: 0.875 (text to video) or 0.900 (image to video)
    sigma       what the network is told, after shift and rounding; never the number of a step, whose sigma depends on
                the shift and on how many steps there are

In the diffusers layout ``transformer`` is the high-noise expert and ``transformer_2`` the low one. Source: Wan: Open
and Advanced Large-Scale Video Generative Models, arXiv:2503.20314, and the release of Wan2.2.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from frostline import path
from frostline.errors import WrongUse
from frostline.path import VelocityFn

Agreed = Callable[[bool, bool], tuple[bool, bool]]
"""(has this process rows of the high, of the low expert) -> (has any process that computes with it)"""


def alone(high: bool, low: bool) -> tuple[bool, bool]:
    """What one process needs."""
    return high, low


def serves_high(sigma: Tensor, boundary: float) -> Tensor:
    """For which sigmas the high-noise expert serves: those at the boundary and above. Bool, of sigma's shape."""
    if not 0 < boundary < 1:
        raise WrongUse(f"expert boundary {boundary}: a sigma between 0 and 1, such as 0.875")
    return path.precise(sigma) >= torch.tensor(boundary, dtype=sigma.dtype, device=sigma.device)


def routed(high: VelocityFn, low: VelocityFn, boundary: float, agreed: Agreed = alone) -> VelocityFn:
    """The two experts as one velocity: each row by its own sigma.

    An expert that serves no row is not evaluated. A batch with rows of both is evaluated by both, because a VelocityFn
    is bound to the texts of its whole batch. Of experts whose weights are spread over processes ``agreed`` says which
    one any of them needs: all have to evaluate it then, in the same order, or a part of one expert is silently put
    together with a part of the other.
    """

    def velocity(noised: Tensor, sigma: Tensor) -> Tensor:
        rows = serves_high(sigma, boundary)
        needs_high, needs_low = agreed(bool(rows.any()), not bool(rows.all()))
        if not needs_low:
            return high(noised, sigma)
        if not needs_high:
            return low(noised, sigma)
        chosen = rows.to(noised.device).reshape(-1, *[1] * (noised.ndim - 1))
        return torch.where(chosen, high(noised, sigma), low(noised, sigma))

    return velocity
