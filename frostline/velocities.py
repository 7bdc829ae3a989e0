"""A model's networks, under texts and guided, as one velocity: the same for teacher, sampler and previews.

    v_g = v_0 + g (v_c - v_0)

Legend
    network    the only one, or the high-noise expert of two
    guidance   its g; each expert has its own
    low        the low-noise expert, which serves the sigmas below the boundary
    text       what is asked for               (B, L, D)
    away       what guidance steers away from  (B, L, D)

How a network is guided differs: a teacher's rows may have lost their caption. Which network serves a sigma does not.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from frostline import experts, guidance, transformer
from frostline.contract import Process
from frostline.experts import Agreed
from frostline.path import VelocityFn

CALL_TOKENS = 1024  # of one network call: 64 images or 32 clips of 5 frames of the miniature; part of the result

Guided = Callable[[nn.Module, float], VelocityFn]
"""(network, its guidance) -> its guided velocity"""


@dataclass(frozen=True, kw_only=True)
class Low:
    """The low-noise one of two experts."""

    network: nn.Module
    guidance: float
    boundary: float  # sigma from which the other one serves


def rows_at_once(size: Sequence[int], patch: Sequence[int]) -> int:
    """How many latents of a size (T, H, W) a network is asked for at once, always as many: results depend on it."""
    tokens = math.prod(side // part for side, part in zip(size, patch, strict=True))
    return max(1, CALL_TOKENS // tokens)


def served(
    network: nn.Module, scale: float, low: Low | None, guided: Guided, agreed: Agreed = experts.alone
) -> VelocityFn:
    """One velocity of a network, or of two experts, each guided by its own scale and asked at its own sigmas."""
    if low is None:
        return guided(network, scale)
    return experts.routed(guided(network, scale), guided(low.network, low.guidance), low.boundary, agreed)


def sampled(
    network: nn.Module,
    scale: float,
    low: Low | None,
    *,
    process: Process,
    text: Tensor,
    away: Tensor | None,
    context: Tensor | None = None,
) -> VelocityFn:
    """The velocity that a sampler follows, from a context where there is one; without ``away`` nothing is guided."""

    def guided(one: nn.Module, scale: float) -> VelocityFn:
        conditional = transformer.velocity_fn(one, text, process, context)
        if away is None:
            return conditional
        return guidance.guided(conditional, transformer.velocity_fn(one, away, process, context), scale)

    return served(network, scale, low, guided)
