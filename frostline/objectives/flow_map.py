"""The flow map: one network u(noised, sigma, r), the mean velocity from sigma down to r, for any number of steps.

    X(sigma -> r) = noised - (sigma - r) u(noised, sigma, r)
    u* = v_g - (sigma - r) du/dsigma,   du/dsigma = (d_noised u) v_g + d_sigma u   along the teacher, r fixed
    L = E || u - stopgrad u* ||^2

Settings of it: r = sigma is velocity matching, r = 0 a continuous consistency model, both and between MeanFlow and
AnyFlow: ``Ends`` says how often each.
Source: Geng et al., Mean Flows, arXiv:2505.13447, eq. 6 and 11 (from data); Boffi et al., Flow Map Matching,
arXiv:2406.07507, and Sabour et al., Align Your Flow, arXiv:2506.14603, eq. 6 (from a teacher); Lu and Song,
arXiv:2410.11081, section 4 (warm-up and normalisation of the tangent, r = 0).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frostline import path, schedule, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.errors import WrongUse
from frostline.objectives import Objective, squared_error
from frostline.objectives.teaching import Teaching
from frostline.path import FlowMapFn, VelocityFn

DELTA = 0.005  # of the central difference, in sigma
NORMALISER = 0.1  # keeps normalised tangents finite

Derivative = Callable[[FlowMapFn, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(u, noised (B, ...), sigma (B,), end (B,), teacher's velocity (B, ...)) -> du/dsigma along it (B, ...)"""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """How the end r of each row is drawn: shares of rows; the rest is uniform in u between 0 and sigma."""

    at_start: float  # r = sigma: velocity matching, the anchor (0.25 to 0.5)
    at_zero: float  # r = 0: consistency

    def __post_init__(self) -> None:
        if min(self.at_start, self.at_zero) < 0 or self.at_start + self.at_zero > 1:
            raise WrongUse(f"shares of ends {self.at_start} and {self.at_zero}: from 0 to 1, together at most 1")

    def draw(self, sigma: Tensor, shift: float, generator: torch.Generator) -> Tensor:
        """Ends (B,) for sigmas (B,), each between 0 and its sigma."""
        kind, place = torch.rand(2, *sigma.shape, dtype=torch.float64, generator=generator, device=generator.device).to(
            sigma.device
        )
        between = schedule.shift(schedule.unshift(sigma.double(), shift) * place, shift).to(sigma.dtype)
        ends = torch.where(kind < self.at_start, sigma, between.minimum(sigma))
        return torch.where(kind >= 1 - self.at_zero, torch.zeros_like(sigma), ends)


CONSISTENCY = Ends(at_start=0.0, at_zero=1.0)
MEAN_FLOW = Ends(at_start=0.5, at_zero=0.0)
ANY_FLOW = Ends(at_start=0.25, at_zero=0.25)


@torch.no_grad()
def difference(
    u: FlowMapFn, noised: Tensor, sigma: Tensor, end: Tensor, velocity: Tensor, *, delta: float = DELTA
) -> Tensor:
    """du/dsigma along the teacher by a central difference, in float64; one-sided where a side would leave [end, 1].

    Both sides are evaluated under the same random state, which is then put back: dropout acts alike on both, and
    neither sees another network than the loss does. Where sigma and end are one, the derivative has no weight and is 0.
    """
    ahead, behind = (sigma + delta).clamp(max=1.0), torch.maximum(sigma - delta, end)
    high = _beside(u, noised, sigma, ahead, end, velocity)
    low = _beside(u, noised, sigma, behind, end, velocity)
    width = path.broadcast((ahead - behind).double(), high)
    return torch.where(path.broadcast((sigma - end).double(), high) > 0, (high - low) / width, 0.0)


def _beside(u: FlowMapFn, noised: Tensor, sigma: Tensor, there: Tensor, end: Tensor, velocity: Tensor) -> Tensor:
    devices = [noised.device] if noised.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        return u(path.moved(noised, velocity, sigma, there), there, end).double()


@torch.no_grad()
def exact(u: FlowMapFn, noised: Tensor, sigma: Tensor, end: Tensor, velocity: Tensor) -> Tensor:
    """du/dsigma along the teacher by forward differentiation: the reference; attention must be plain for it."""
    tangents = (velocity.to(noised.dtype), torch.ones_like(sigma))
    return torch.func.jvp(lambda point, s: u(point, s, end), (noised, sigma), tangents)[1]


def losses(
    student: FlowMapFn,
    teacher: VelocityFn,
    noised: Tensor,
    sigma: Tensor,
    end: Tensor,
    *,
    derivative: Derivative = difference,
    warmth: float,
    normalised: bool,
) -> Tensor:
    """How far the student's mean velocity is from its target: (B,).

    ``warmth`` is the weight of the derivative, led from 0 to 1 over the first thousand steps or two (``warmed``).
    ``normalised`` divides g = u - u* of each row by rms(g) + 0.1, so that no row with a steep tangent rules a batch;
    the loss is then no measure of anything, only its gradient counts.
    """
    predicted = student(noised, sigma, end)
    with torch.no_grad():
        velocity = teacher(noised, sigma)
        slope = derivative(student, noised, sigma, end, velocity)
        target = velocity.double() - warmth * path.broadcast((sigma - end).double(), slope) * slope.double()
        error = (predicted - target).float()
        if normalised:
            error = error / (path.broadcast(_rms(error), error) + NORMALISER)
        target = predicted - error
    return squared_error(predicted, target)


def objective(process: Process, *, taught: Teaching, delta: float, warmth: Callable[[], float]) -> Objective:
    """The loss of one batch on noised latents, whose times are sigma and end (B, 2), by central differences.

    ``warmth`` says the weight of the derivative now. Errors are normalised: the fastest waves of Wan's embedded time
    turn once in .006 of sigma, and their tangents would rule.
    """
    derivative = functools.partial(difference, delta=delta)

    def of_batch(network: nn.Module, batch: Batch, noise: Tensor, times: Tensor) -> Tensor:
        sigma, end = times.unbind(1)
        student = transformer.flow_map_fn(network, batch.text, process)
        noised = path.noised(batch.clean, noise, sigma)
        return losses(
            student, taught(batch), noised, sigma, end, derivative=derivative, warmth=warmth(), normalised=True
        )

    return of_batch


def warmed(step: int, steps: int) -> float:
    """The weight of the derivative at a step: rises from 0 to 1 over ``steps``."""
    return min(1.0, step / steps) if steps else 1.0


def _rms(error: Tensor) -> Tensor:
    return error.square().flatten(1).mean(1).sqrt()
