"""Which sigmas a network is trained at, and which a sampler visits.

Legend
    u         position in the schedule before the shift, 1 = pure noise, 0 = clean
    shift k   sigma = k * u / (1 + (k - 1) * u); k = 1 changes nothing, k > 1 spends more steps near the noise
    sigma     float64 throughout; rounded only where a network or a solver takes it
    steps     evaluations of the network in one sampling run

Source: Esser et al., Scaling Rectified Flow Transformers (arXiv:2403.03206), eq. 23 for the shift (their
sqrt(m / n) is k) and section 3.1 for the logit-normal draws.
"""

import numpy as np
import torch
from torch import Tensor

from frostline import path
from frostline.errors import WrongUse

STOCK_START = 1e-6
"""diffusers' UniPC starts this far below sigma = 1, where the log signal-to-noise ratio is still finite."""


def shift(u: Tensor, k: float) -> Tensor:
    """Positions moved towards the noise by the shift ``k``; written so that 0 and 1 stay exactly what they are."""
    _require_positive(k)
    return k * u / ((1.0 - u) + k * u)


def unshift(sigma: Tensor, k: float) -> Tensor:
    """The positions whose shift by ``k`` gives ``sigma``."""
    _require_positive(k)
    return sigma / (k * (1.0 - sigma) + sigma)


def grid(steps: int, k: float) -> Tensor:
    """Sigmas (steps + 1,) float64 from 1 to 0: ``steps`` equal steps in u, shifted by ``k``."""
    _require_steps(steps)
    return shift(torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64), k)


def unipc_grid(steps: int, k: float) -> Tensor:
    """Sigmas (steps + 1,) float64 that diffusers' UniPC visits with flow sigmas: 1 - 1e-6 to 0.

    The last but one is a little higher than on ``grid``, because u runs from 1 to 1/1000 before the zero is put
    behind it. Formed with numpy in the order of operations of ``UniPCMultistepScheduler.set_timesteps``: one unit
    in the last place can decide to which integer a timestep is floored.
    """
    _require_steps(steps)
    _require_positive(k)
    u = np.linspace(1, 1 / path.TIMESTEP_SCALE, steps + 1)[:-1]
    sigmas = k * u / (1 + (k - 1) * u)
    sigmas[0] -= STOCK_START
    return torch.from_numpy(np.append(sigmas, 0.0))


def published_grid(steps: int, k: float) -> Tensor:
    """Sigmas (steps + 1,) float64 that the UniPC in Wan-AI's own code visits: u from .999 to 0, where diffusers' has 1.

    Formed with numpy in that code's order of operations, as in ``unipc_grid``.
    """
    _require_steps(steps)
    _require_positive(k)
    u = np.linspace(float(np.float32(1.0 - 1.0 / path.TIMESTEP_SCALE)), 0.0, steps + 1)[:-1]
    return torch.from_numpy(np.append(k * u / (1 + (k - 1) * u), 0.0))


def floored(sigmas: Tensor) -> Tensor:
    """The sigmas (float64) a network is told when its timesteps are floored to integers, as the Wan pipeline does."""
    return path.sigma_of(path.timestep(sigmas).to(torch.int64))


def draw_uniform(n: int, k: float, generator: torch.Generator) -> Tensor:
    """Training sigmas (n,) float64, uniform in u, shifted by ``k``."""
    return shift(_uniform(n, generator), k)


def draw_logit_normal(n: int, k: float, generator: torch.Generator) -> Tensor:
    """Training sigmas (n,) float64, logit-normal in u with mean 0 and deviation 1, shifted by ``k``."""
    return shift(logit_normal(_uniform(n, generator)), k)


DRAWS = {"uniform": draw_uniform, "logit_normal": draw_logit_normal}
"""How training sigmas are drawn, by the name that stands in a contract."""


def logit_normal(uniform: Tensor, mean: float = 0.0, deviation: float = 1.0) -> Tensor:
    """Uniform numbers in [0, 1) turned into logit-normal ones by the inverse of its distribution function."""
    return torch.sigmoid(mean + deviation * torch.special.ndtri(uniform))


def edges(sigmas: Tensor, bins: int = 10) -> Tensor:
    """Edges (at most bins + 1,), rising, that cut a sampler's range into bins of like numbers of steps.

    A sampler of fewer steps than ``bins`` has one bin per step.
    """
    rising = torch.sort(sigmas.to(torch.float64)).values
    steps = rising.shape[0] - 1
    count = min(bins, steps)
    return torch.stack([rising[round(i * steps / count)] for i in range(count + 1)])


def coverage(draws: Tensor, bin_edges: Tensor) -> Tensor:
    """Share (bins,) of all draws that lies in each bin; an edge belongs to the bin above it, the last to the last."""
    inside = draws[(draws >= bin_edges[0]) & (draws <= bin_edges[-1])]
    index = torch.bucketize(inside, bin_edges[1:-1].contiguous(), right=True)
    return torch.bincount(index, minlength=bin_edges.shape[0] - 1).to(torch.float64) / draws.shape[0]


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, dtype=torch.float64, generator=generator, device=generator.device)


def _require_positive(k: float) -> None:
    if not k > 0:
        raise WrongUse(f"shift is {k}: give a number above 0 (1 changes nothing)")


def _require_steps(steps: int) -> None:
    if steps < 1:
        raise WrongUse(f"steps is {steps}: a sampler takes at least 1")
