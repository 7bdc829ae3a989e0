"""Teachers whose truth can be computed: closed-form velocities in any number of dimensions.

Legend
    D         dimensions of one latent, flattened; use at least 128, fewer hide real bugs
    mean m    of the data                      number or (..., D)
    std d     of the data along every axis     number or (K,)
    v(s)      variance of noised at sigma s    (1 - s)^2 d^2 + s^2
    K         components of a mixture

Derivation. For data N(m, d^2 I) the point ``noised = (1 - s) clean + s noise`` is Gaussian with mean (1 - s) m and
variance v(s). With e = noised - (1 - s) m, conditioning of jointly Gaussian variables gives
    E[clean | noised] = m + (1 - s) d^2 / v(s) * e,      E[noise | noised] = s / v(s) * e,
so the velocity E[noise - clean | noised] is (s - (1 - s) d^2) / v(s) * e - m. Because v'(s) / 2 = s - (1 - s) d^2,
e / sqrt(v(s)) stays constant along the flow: X(s -> r) = (1 - r) m + sqrt(v(r) / v(s)) * e, and noise at s = 1 ends
at m + d * noise. A mixture's velocity is the mean of its components' weighted by their posterior probabilities,
w_k N(noised; (1 - s) m_k, v_k(s) I). See Karras et al. (arXiv:2206.00364), appendix B.3, and Albergo et al.
(arXiv:2303.08797), appendix A, for the same in other notations.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from frostline import guidance, path
from frostline.errors import WrongUse
from frostline.path import VelocityFn


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Data N(mean, std^2 I) of any shape."""

    mean: float
    std: float

    def velocity(self, noised: Tensor, sigma: Tensor) -> Tensor:
        """Expected velocity at ``noised`` (B, ...) and ``sigma`` (B,)."""
        s = path.broadcast(sigma, noised)
        slope = (s - (1 - s) * self.std**2) / self._variance(s)
        return slope * (noised - (1 - s) * self.mean) - self.mean

    def flow(self, noised: Tensor, sigma: Tensor, end: Tensor) -> Tensor:
        """Where the exact flow carries ``noised`` from ``sigma`` to ``end``."""
        s, r = path.broadcast(sigma, noised), path.broadcast(end, noised)
        stretch = torch.sqrt(self._variance(r) / self._variance(s))
        return (1 - r) * self.mean + stretch * (noised - (1 - s) * self.mean)

    def mean_velocity(self, noised: Tensor, sigma: Tensor, end: Tensor) -> Tensor:
        """The flow map's network in closed form: mean velocity from ``sigma`` down to ``end`` (end < sigma)."""
        return (noised - self.flow(noised, sigma, end)) / path.broadcast(sigma - end, noised)

    def endpoint(self, noise: Tensor) -> Tensor:
        """The data point the exact flow makes of pure noise."""
        return self.mean + self.std * noise

    def _variance(self, s: Tensor) -> Tensor:
        return (1 - s) ** 2 * self.std**2 + s**2


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """Isotropic Gaussians, each belonging to a class."""

    means: Tensor  # (K, D) float64
    stds: Tensor  # (K,) float64
    weights: Tensor  # (K,) float64, sum 1
    labels: Tensor  # (K,) int64, class of each component

    def velocity(self, noised: Tensor, sigma: Tensor) -> Tensor:
        """Expected velocity over all classes (the null prompt) at ``noised`` (B, ...) and ``sigma`` (B,)."""
        flat, s = self._flattened(noised, sigma)
        weights = torch.softmax(self._log_joint(flat, s), dim=1)
        return self._mixed(weights, flat, s).to(noised.dtype).reshape(noised.shape)

    def guided(self, labels: Tensor, scale: float) -> VelocityFn:
        """The guided teacher of a batch: each row towards its own class (B,); at scale 1 the conditional teacher.

        Both velocities are the components' with other weights, so guidance is applied to the weights.
        """
        others = self.labels[None, :] != labels[:, None]  # (B, K)
        if bool(others.all(1).any()):
            raise self._absent(int(labels[others.all(1)][0]))

        def velocity(noised: Tensor, sigma: Tensor) -> Tensor:
            flat, s = self._flattened(noised, sigma)
            joint = self._log_joint(flat, s)
            conditional = torch.softmax(joint.masked_fill(others, -torch.inf), dim=1)
            weights = guidance.combine(torch.softmax(joint, dim=1), conditional, scale)
            return self._mixed(weights, flat, s).to(noised.dtype).reshape(noised.shape)

        return velocity

    def log_density(self, noised: Tensor, sigma: Tensor) -> Tensor:
        """Log density (B,) of ``noised``."""
        flat, s = self._flattened(noised, sigma)
        return torch.logsumexp(self._log_joint(flat, s), dim=1)

    def of_class(self, label: int) -> "Mixture":
        """The components of one class with their weights made to sum to 1: the conditional teacher."""
        chosen = self.labels == label
        if not bool(chosen.any()):
            raise self._absent(label)
        weights = self.weights[chosen]
        return Mixture(
            means=self.means[chosen],
            stds=self.stds[chosen],
            weights=weights / weights.sum(),
            labels=self.labels[chosen],
        )

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clean points (n, D) float64 and their classes (n,)."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=generator)
        return self.means[which] + self.stds[which, None] * noise, self.labels[which]

    def _mixed(self, weights: Tensor, flat: Tensor, s: Tensor) -> Tensor:
        """The components' velocities under weights (B, K): sum of w_k (slope_k (noised - (1 - s) m_k) - m_k)."""
        kept = 1 - s[:, None]
        slope = (s[:, None] - kept * self.stds**2) / self._variance(s)
        return (weights * slope).sum(1, keepdim=True) * flat - (weights * (1 + slope * kept)) @ self.means

    def _flattened(self, noised: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        flat = noised.reshape(noised.shape[0], -1).to(torch.float64)
        s = path.precise(sigma).to(torch.float64).expand(flat.shape[0])
        return flat, s[:1] if s.stride() == (0,) else s  # one sigma for all rows is computed with once

    def _variance(self, s: Tensor) -> Tensor:
        return (1 - s[:, None]) ** 2 * self.stds**2 + s[:, None] ** 2  # (B, K)

    def _log_joint(self, flat: Tensor, s: Tensor) -> Tensor:
        kept, variance = 1 - s[:, None], self._variance(s)
        squares = flat.square().sum(1, keepdim=True) + kept**2 * self.means.square().sum(1)
        distance = (squares - 2 * kept * (flat @ self.means.T)) / variance
        dimensions = self.means.shape[1]
        return self.weights.log() - 0.5 * (distance + dimensions * torch.log(2 * torch.pi * variance))  # (B, K)

    def _absent(self, label: int) -> WrongUse:
        return WrongUse(f"class {label} has no component: the mixture's classes are {self.labels.unique().tolist()}")


def mixture(
    *, classes: int, components: int, dimensions: int, generator: torch.Generator, spread: float = 0.5
) -> Mixture:
    """A mixture of ``components`` per class: standard normal means, deviations ``spread`` to 1.5 ``spread``."""
    k = classes * components
    weights = 1.0 + torch.rand(k, dtype=torch.float64, generator=generator)
    return Mixture(
        means=torch.randn(k, dimensions, dtype=torch.float64, generator=generator),
        stds=spread * (1.0 + 0.5 * torch.rand(k, dtype=torch.float64, generator=generator)),
        weights=weights / weights.sum(),
        labels=torch.arange(classes).repeat_interleave(components),
    )


def integrate(velocity_fn: VelocityFn, noised: Tensor, sigma: float, end: float, steps: int) -> Tensor:
    """Reference flow from ``sigma`` to ``end`` by the classical Runge-Kutta method (4 evaluations a step)."""
    marks = torch.linspace(sigma, end, steps + 1, dtype=torch.float64)
    for here, there in zip(marks[:-1].tolist(), marks[1:].tolist(), strict=True):
        noised = _runge_kutta(velocity_fn, noised, here, there)
    return noised


def heun(velocity_fn: VelocityFn, noised: Tensor, sigmas: Tensor) -> Tensor:
    """The flow along falling ``sigmas`` (N + 1,) by Heun's method: two evaluations a step, of second order."""
    for here, there in itertools.pairwise(sigmas.to(torch.float64)):
        rows = noised.shape[0]
        first = velocity_fn(noised, here.expand(rows))
        second = velocity_fn(path.moved(noised, first, here, there), there.expand(rows))
        noised = path.moved(noised, 0.5 * (first + second), here, there)
    return noised


def _runge_kutta(velocity_fn: VelocityFn, noised: Tensor, here: float, there: float) -> Tensor:
    def at(point: Tensor, sigma: float) -> Tensor:
        return velocity_fn(point, torch.full((point.shape[0],), sigma, dtype=torch.float64, device=point.device))

    h, middle = there - here, 0.5 * (here + there)
    first = at(noised, here)
    second = at(noised + 0.5 * h * first, middle)
    third = at(noised + 0.5 * h * second, middle)
    fourth = at(noised + h * third, there)
    return noised + h / 6 * (first + 2 * second + 2 * third + fourth)
