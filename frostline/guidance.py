"""Classifier-free guidance, applied in one place.

Legend
    v_0       velocity for the null prompt       (B, ...), or for a negative prompt in its place
    v_c       velocity for the prompt            (B, ...)
    scale g   v_g = v_0 + g * (v_c - v_0); g = 1 is the prompt alone, g = 0 the null prompt

Source: Ho and Salimans, Classifier-Free Diffusion Guidance (arXiv:2207.12598), eq. 6, whose w is g - 1. Other
conventions are converted where a foreign model is imported and never stored.
"""

from torch import Tensor

from frostline.path import VelocityFn


def combine(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """The guided velocity of the two."""
    return unconditional + scale * (conditional - unconditional)


def guided(conditional: VelocityFn, unconditional: VelocityFn, scale: float) -> VelocityFn:
    """One velocity function of two; at scale 1 the null prompt is not evaluated."""
    if scale == 1.0:
        return conditional

    def velocity(noised: Tensor, sigma: Tensor) -> Tensor:
        return combine(unconditional(noised, sigma), conditional(noised, sigma), scale)

    return velocity


def scale_of_weight(weight: float) -> float:
    """Our scale g for a guidance weight w as the paper counts it (w = 0: the prompt alone)."""
    return weight + 1.0
