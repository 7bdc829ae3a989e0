"""The critic of distribution matching: the velocity of what a student makes, learned by flow matching on it.

    made       what the student made, at sigma_k: 0 where it makes clean latents, the expert boundary where the
               high-noise student of two makes its part of the way
    sigma s    where the critic learns, in (sigma_k, .98]
    kept a     (1 - s) / (1 - sigma_k)
    added q    q^2 = s^2 - a^2 sigma_k^2

    noised = a made + q e,   v* = (s e / q - noised) / (1 - s),   weight q^2 (1 - s)^2

v* is right in the mean: the score of noised given made is -e / q, the mean of the scores over all that could have
been made is the score of noised, and a score s' says the velocity -(noised + s s') / (1 - s)
(``path.velocity_from_score``). For sigma_k = 0 it is e - made, the plain target; used at sigma_k > 0 that is wrong,
because made is not clean.
Source: Vincent, A Connection Between Score Matching and Denoising Autoencoders, 2011, eq. 11, on this path; Yin et
al., Improved Distribution Matching Distillation, arXiv:2405.14867, section 3 (a critic learns every step).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from frostline import path, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.errors import WrongUse
from frostline.objectives import Objective, simulation, squared_error, times
from frostline.path import VelocityFn


def noised_on(made: Tensor, extra: Tensor, sigma: Tensor, made_at: float) -> Tensor:
    """What was made at sigma ``made_at``, carried to ``sigma`` (B,) by standard normal ``extra``."""
    kept, added = _weights(sigma, made_at)
    return path.broadcast(kept, made) * made + path.broadcast(added, made) * extra


def target(made: Tensor, extra: Tensor, sigma: Tensor, made_at: float) -> Tensor:
    """The velocity v* whose mean at each noised point is that of everything the student makes."""
    if made_at == 0:
        return path.velocity(made, extra)
    _, added = _weights(sigma, made_at)
    score = -extra / path.broadcast(added, made)
    return path.velocity_from_score(noised_on(made, extra, sigma, made_at), score, sigma)


def weight(sigma: Tensor, made_at: float) -> Tensor:
    """How much each row counts (B,): q^2 (1 - s)^2 against the target's poles; 1 where clean latents are made."""
    if made_at == 0:
        return torch.ones_like(sigma)
    _, added = _weights(sigma, made_at)
    return (added * (1 - sigma)).square()


def losses(critic: VelocityFn, made: Tensor, extra: Tensor, sigma: Tensor, made_at: float) -> Tensor:
    """How far the critic is from the velocity of what was made: (B,). No gradient reaches what made it."""
    made = made.detach()
    noised = noised_on(made, extra, sigma, made_at)
    return weight(sigma, made_at).float() * squared_error(critic(noised, sigma), target(made, extra, sigma, made_at))


def objective(process: Process, *, student: nn.Module, sigmas: Sequence[float]) -> Objective:
    """The critic's loss on what a student makes of a batch's noise and captions, at ``sigmas`` (K,) of its sampler.

    Its times are those of ``Simulated``; the network it is asked with is the critic.
    """

    def of_batch(network: nn.Module, batch: Batch, noise: Tensor, drawn: Tensor) -> Tensor:
        with torch.no_grad():
            clean = simulation.of_batch(student, batch, noise, drawn, process, sigmas)
        extra = simulation.normal(drawn, noise, "critic")
        return losses(transformer.velocity_fn(network, batch.text, process), clean, extra, drawn[:, times.SIGMA], 0.0)

    return of_batch


def _weights(sigma: Tensor, made_at: float) -> tuple[Tensor, Tensor]:
    """The weights a and q (B,) in the precision of sigma; raises WrongUse where nothing is to be added."""
    if not 0 <= made_at < 1 or not bool((path.precise(sigma) > made_at).all()):
        raise WrongUse(
            f"made at sigma {made_at}, critic at {float(sigma.min())}: noise can only be added, so draw sigmas above it"
        )
    kept = (1 - sigma) / (1 - made_at)
    return kept, (sigma.square() - (kept * made_at).square()).sqrt()
