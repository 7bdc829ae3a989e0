"""The straight path from data to noise, and every identity that follows from it.

Legend
    clean     data latent, normalised            (B, ...)
    noise     standard normal, shape of clean    (B, ...)
    sigma     1 = pure noise, 0 = clean          (B,) or a scalar; float32 or better
    noised    (1 - sigma) * clean + sigma * noise
    velocity  d noised / d sigma = noise - clean
    score     gradient of log density of noised
    timestep  1000 * sigma, what a Wan transformer takes

Source: Lipman et al., Flow Matching for Generative Modeling (arXiv:2210.02747), eq. 20 to 23 with sigma_min = 0;
Liu et al., Flow Straight and Fast (arXiv:2209.03003), eq. 1. Both count time the other way round: their t is 1 - sigma.

Sigmas keep their own precision until the last moment: ``1 - sigma`` is formed in the dtype of sigma, then rounded
once to that of the latents, and half-precision latents are lifted to float32 first.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from frostline import contract
from frostline.errors import WrongUse

VelocityFn = Callable[[Tensor, Tensor], Tensor]
"""(noised (B, ...), sigma (B,)) -> velocity (B, ...)"""

FlowMapFn = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(noised (B, ...), sigma (B,), end sigma (B,)) -> mean velocity between the two (B, ...)"""

TIMESTEP_SCALE = contract.TIMESTEP_SCALE


def noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The point at ``sigma`` on the path between a clean latent and its noise."""
    kept, added = _weights(sigma, clean)
    return kept * clean + added * noise


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """How the point moves as sigma grows: the same everywhere on the path."""
    return noise - clean


def clean(noised: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """The clean end of the path through ``noised``."""
    _, added = _weights(sigma, noised)
    return noised - added * velocity


def noise(noised: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """The noise end of the path through ``noised``."""
    kept, _ = _weights(sigma, noised)
    return noised + kept * velocity


def velocity_from_clean(noised: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """The velocity of a network that predicts the clean latent; needs sigma > 0."""
    _, added = _weights(sigma, noised)
    return (noised - clean) / added


def velocity_from_noise(noised: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The velocity of a network that predicts the noise; needs sigma < 1."""
    kept, _ = _weights(sigma, noised)
    return (noise - noised) / kept


def score(noised: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """Gradient of the log density of ``noised`` for the expected velocity; needs sigma > 0.

    The expected noise is -sigma * score (Tweedie's formula, e.g. Albergo et al., arXiv:2303.08797, eq. 2.15).
    """
    kept, added = _weights(sigma, noised)
    return -(noised + kept * velocity) / added


def velocity_from_score(noised: Tensor, score: Tensor, sigma: Tensor) -> Tensor:
    """The velocity whose expected noise is ``-sigma * score``; needs sigma < 1."""
    kept, added = _weights(sigma, noised)
    return -(noised + added * score) / kept


def moved(noised: Tensor, velocity: Tensor, sigma: Tensor, end: Tensor) -> Tensor:
    """The point at sigma ``end`` on the straight line through ``noised``: an Euler step, or a flow-map step."""
    return noised - broadcast(sigma - end, noised) * velocity


def timestep(sigma: Tensor) -> Tensor:
    """What a Wan transformer takes for ``sigma``; ``transformer.timestep`` is the same under a contract's own scale."""
    return TIMESTEP_SCALE * precise(sigma)


def sigma_of(timestep: Tensor) -> Tensor:
    """The float64 sigma a network is told when it takes ``timestep``."""
    return timestep.to(torch.float64) / TIMESTEP_SCALE


def broadcast(sigma: Tensor, latents: Tensor) -> Tensor:
    """Sigma (B,) or () as (B, 1, ...) or (), in the dtype in which the latents are computed."""
    kept = precise(sigma)
    if kept.ndim not in (0, 1) or (kept.ndim == 1 and kept.shape[0] not in (1, latents.shape[0])):
        raise WrongUse(
            f"sigma has the shape {tuple(kept.shape)} for latents of shape {tuple(latents.shape)}: give one per row"
        )
    shape = (-1,) + (1,) * (latents.ndim - 1) if kept.ndim == 1 else ()
    return kept.to(latents.device, torch.promote_types(latents.dtype, torch.float32)).reshape(shape)


def precise(sigma: Tensor) -> Tensor:
    """Sigma itself, if it is float32 or float64; raises WrongUse if it is coarser (bf16 keeps 507 of 1000 apart)."""
    if sigma.dtype not in (torch.float32, torch.float64):
        raise WrongUse(
            f"sigma is {sigma.dtype}: make it float32 or float64, coarser types merge neighbouring timesteps"
        )
    return sigma


def _weights(sigma: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the clean latent and of the noise, each ready to multiply latents."""
    return broadcast(1.0 - precise(sigma), latents), broadcast(sigma, latents)
