"""D08 latent-stats: are latents normalised exactly once?"""

import torch
from torch import Tensor

from frostline import findings
from frostline.findings import Bound, Check, Finding

ABOUT = Check(
    id="D08",
    name="latent-stats",
    question="Are latents normalised exactly once?",
    procedure="Mean and deviation of each channel over 1000 rows or more; for samples, deviation over the data's.",
    remedy="Store raw posterior means and let frostline.latents alone apply the contract's mean and std; "
    "if the data really differs, its own statistics belong in the contract.",
    reference="docs/maths.md; Rombach et al., arXiv:2112.10752, appendix D.1",
)
BOUNDS = (
    Bound(measure="largest_mean", op="<", value=0.5),
    Bound(measure="smallest_std", op=">", value=0.5),
    Bound(measure="largest_std", op="<", value=1.7),
    Bound(measure="rows", op=">=", value=1000.0, otherwise="warn"),
)
SAMPLE_BOUNDS = (
    Bound(measure="smallest_ratio", op=">", value=0.7),
    Bound(measure="largest_ratio", op="<", value=1.4),
)


def check(latents: Tensor) -> Finding:
    """Judge normalised latents (B, C, ...), as a trainer is given them."""
    mean, std = channel_stats(latents)
    measured = {
        "largest_mean": float(mean.abs().max()),
        "smallest_std": float(std.min()),
        "largest_std": float(std.max()),
        "rows": float(latents.shape[0]),
    }
    return findings.judge(ABOUT, measured, BOUNDS)


def of_samples(samples: Tensor, latents: Tensor) -> Finding:
    """Judge a sampler's latents (B, C, ...) against normalised ones of the data (B, C, ...)."""
    ratio = channel_stats(samples)[1] / channel_stats(latents)[1]
    measured = {"smallest_ratio": float(ratio.min()), "largest_ratio": float(ratio.max())}
    return findings.judge(ABOUT, measured, SAMPLE_BOUNDS)


def channel_stats(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (C,) of each channel of latents (B, C, ...)."""
    flat = latents.to(torch.float64).transpose(0, 1).flatten(1)  # (C, everything else)
    return flat.mean(1), flat.std(1, correction=0)
