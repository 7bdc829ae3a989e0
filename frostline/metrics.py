"""Numbers that say how good samples are, on arrays and never on re-decoded files; the one door to torchmetrics.

Names:  features   what a judge sees in a picture, one row per picture: (N, D)
        pixels     uint8 (N, T, H, W, 3)
        latents    normalised, (N, C, T', H', W')
        interval   value with a 95 % interval

A mean can be right where the samples are wrong, so no number here judges alone: accuracy, Frechet distance, diversity,
latent spread and a clip's direction are read together.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from frostline.errors import WrongUse

NORMAL_95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal


class Interval(NamedTuple):
    """A measured value, its standard error and its 95 % interval."""

    value: float
    error: float
    low: float
    high: float


class _Given(torch.nn.Module):
    """Stands where torchmetrics expects its Inception network: the features are given, so they pass."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet(features: Tensor, reference: Tensor) -> float:
    """Frechet distance of two sets of features taken as Gaussians (Heusel et al. 2017, eq. 6, squared).

    The arithmetic is torchmetrics' own FID in float64 with the features passed through, so a number here means what
    it means elsewhere; only the network differs. It is biased upwards by about 1/N: compare equal N only.
    features (N, D), reference (M, D); raises WrongUse under two rows or if the D differ.
    """
    _require_features(features, reference)
    metric = FrechetInceptionDistance(feature=_Given(features.shape[1]))
    metric.update(reference.double(), real=True)
    metric.update(features.double(), real=False)
    return float(metric.compute())


def _require_features(*sets: Tensor) -> None:
    shapes = [tuple(one.shape) for one in sets]
    if any(len(shape) != 2 or shape[0] < 2 for shape in shapes) or len({shape[1] for shape in shapes}) != 1:
        raise WrongUse(
            f"features of shapes {shapes}: a Frechet distance needs (N, D), N >= 2, one D; draw more samples"
        )


def accuracy(found: Tensor, wanted: Tensor) -> Interval:
    """Share of pictures whose class is the one asked for, int (N,) both, with its interval.

    torchmetrics' accuracy refuses a class below 0, such as the direction of a clip that stands still.
    """
    return proportion(float((found == wanted).double().mean()), len(wanted))


def proportion(share: float, n: int) -> Interval:
    """A share of n independent trials with its Wilson interval (Wilson 1927), which stays inside [0, 1]."""
    z2 = NORMAL_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(share, math.sqrt(share * (1 - share) / n), middle - half, middle + half)


def bootstrap(
    statistic: Callable[..., float], samples: Sequence[Tensor], generator: torch.Generator, draws: int = 200
) -> Interval:
    """Interval of `statistic(*samples)` by resampling the rows of each set on its own (Efron 1979).

    Resampling repeats rows, which adds to a Frechet distance the bias it already has; so the replicates are moved to
    have the measured value as their mean, and only their spread is used. torchmetrics' BootStrapper draws from the
    global random state, which nothing here may touch.
    """
    value = statistic(*samples)
    replicates = torch.tensor([statistic(*_resampled(samples, generator)) for _ in range(draws)], dtype=torch.float64)
    bounds = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.quantile(replicates - replicates.mean(), bounds).tolist()
    return Interval(value, float(replicates.std()), value + low, value + high)


def _resampled(samples: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    return [rows[torch.randint(len(rows), (len(rows),), generator=generator)] for rows in samples]


def within_class_diversity(features: Tensor, labels: Tensor) -> float:
    """Root mean square distance of two different samples of one class, averaged over classes; 0 when all are alike.

    features (N, D), labels (N,). From the unbiased within-class variance: E|a - b|^2 = 2 tr Cov.
    """
    spread = [_pair_distance(features[labels == label].double()) for label in labels.unique()]
    return float(torch.stack(spread).mean())


def _pair_distance(rows: Tensor) -> Tensor:
    if len(rows) < 2:
        raise WrongUse(f"a class with {len(rows)} sample has no diversity: draw at least two per class")
    return (2 * rows.var(dim=0).sum()).sqrt()


def latent_spread(latents: Tensor) -> dict[str, float]:
    """Mean and standard deviation over everything (healthy: 0 and 1), and the channel mean furthest from 0."""
    channel_means = latents.double().mean(dim=(0, 2, 3, 4))
    return {
        "mean": float(latents.double().mean()),
        "std": float(latents.double().std()),
        "channel_mean_max": float(channel_means.abs().max()),
    }


def saturation(pixels: Tensor) -> float:
    """Share of values at white: a black ground is not saturated, a washed-out picture is."""
    return float((pixels == 255).double().mean())


def rmse(found: Tensor, wanted: Tensor) -> float:
    """Root mean square difference of pictures uint8 of one shape; 1 is black against white."""
    return float((found.double() - wanted.double()).square().mean().sqrt() / 255)
