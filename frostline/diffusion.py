"""Networks that learned on a DDPM schedule, read as a velocity: v-prediction and epsilon, on the straight path.

Legend
    kept, added   square roots of abar_t and 1 - abar_t: diffused = kept * clean + added * noise, kept^2 + added^2 = 1
    diffused      what such a network sees; noised = diffused * (kept + added) is the point on the straight path
    sigma         added / (kept + added): of the same clean latent and noise, the same point
    v             kept * noise - added * clean
    epsilon       noise
    timestep      place in the schedule, 0 to steps - 1; between two whole ones by sigma

A schedule of zero terminal signal (``zero_terminal_snr``) ends at sigma = 1, where epsilon says nothing about the clean
latent: such a network can only have learned v. Others end below it (at .936 for Stable Diffusion's): beyond, nothing
is learned and nothing asked. The noise stays the noise there and the clean latent is taken for its mean, which is 0, so
that a sampler comes to the end of the schedule with what stock samplers of such networks begin with.

Sources: Ho et al., arXiv:2006.11239, eq. 4; Salimans and Ho, arXiv:2202.00512, appendix D, for v; Lin et al.,
arXiv:2305.08891, algorithm 1, for zero terminal signal.
"""

import functools
from typing import Literal

import torch
from torch import Tensor

from frostline import path
from frostline.contract import Diffusion, Process
from frostline.errors import WrongUse

Prediction = Literal["v_prediction", "epsilon"]


def sigmas(schedule: Diffusion) -> Tensor:
    """The sigma of every timestep (steps,) float64, rising."""
    ends = (schedule.beta_start, schedule.beta_end)
    return _sigmas(schedule.betas, *ends, schedule.steps, schedule.zero_terminal_snr)


@functools.lru_cache(maxsize=8)
def _sigmas(betas: str, first: float, last: float, steps: int, zero_terminal_snr: bool) -> Tensor:
    if betas == "scaled_linear":
        noise = torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64) ** 2
    else:
        noise = torch.linspace(first, last, steps, dtype=torch.float64)
    kept = torch.cumprod(1 - noise, 0).sqrt()
    if zero_terminal_snr:
        kept = (kept - kept[-1]) * kept[0] / (kept[0] - kept[-1])
    added = (1 - kept**2).sqrt()
    return added / (kept + added)


def timestep(sigma: Tensor, schedule: Diffusion) -> Tensor:
    """The place of sigma (B,) in the schedule, float64; before its first and after its last, these."""
    known = sigmas(schedule).to(sigma.device)
    above = torch.searchsorted(known, sigma.double().contiguous()).clamp(1, len(known) - 1)
    low, high = known[above - 1], known[above]
    return above - 1 + ((sigma.double() - low) / (high - low)).clamp(0, 1)


def end(process: Process) -> float:
    """The last sigma that a network learns at, or is asked at."""
    return 1.0 if process.diffusion is None else float(sigmas(process.diffusion)[-1])


def within(sigma: Tensor, process: Process) -> Tensor:
    """Sigmas, those beyond the end at the end."""
    return sigma if process.diffusion is None else sigma.clamp(max=end(process))


def beyond(velocity: Tensor, noised: Tensor, sigma: Tensor, process: Process) -> Tensor:
    """A velocity; of rows with a sigma beyond the end that of a clean latent of 0, whatever was said there."""
    return of_nothing(velocity, noised, sigma, end(process))


def of_nothing(velocity: Tensor, noised: Tensor, sigma: Tensor, last: float) -> Tensor:
    """The same beyond a sigma that is named."""
    outside = (sigma > last).to(noised.device)
    if not outside.any():
        return velocity
    rows = outside.reshape(-1, *(1,) * (noised.ndim - 1))
    return torch.where(rows, noised / path.broadcast(sigma, noised), velocity)


def diffused(noised: Tensor, sigma: Tensor) -> Tensor:
    """The point of the straight path as the network knows it."""
    return noised / path.broadcast(_length(sigma), noised)


def noised(diffused: Tensor, sigma: Tensor) -> Tensor:
    """What the network knows as a point of the straight path."""
    return diffused * path.broadcast(_length(sigma), diffused)


def target(clean: Tensor, noise: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
    """What a network that knows the truth would say."""
    if prediction == "epsilon":
        return noise
    kept, added = _weights(sigma, clean)
    return kept * noise - added * clean


def velocity(noised: Tensor, predicted: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
    """The velocity on the straight path that a prediction means; raises WrongUse for epsilon at sigma = 1."""
    if prediction == "epsilon":
        if (sigma >= 1).any():
            raise WrongUse("epsilon at sigma = 1 says nothing about the clean latent: begin below 1, or learn v")
        return path.velocity_from_noise(noised, predicted, sigma)
    kept, added = _weights(sigma, noised)
    return (added - kept) * diffused(noised, sigma) + (added + kept) * predicted


def _length(sigma: Tensor) -> Tensor:
    return ((1 - sigma.double()) ** 2 + sigma.double() ** 2).sqrt()


def _weights(sigma: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Kept and added, each ready to multiply latents."""
    length = _length(sigma)
    return path.broadcast((1 - sigma.double()) / length, latents), path.broadcast(sigma.double() / length, latents)
