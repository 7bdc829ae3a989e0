"""What a model's own sampler makes (D02, D27, D28): samples against the data they should be like.

Shapes: samples, noise and data (N, C, T, H, W), normalised latents; pixels (N, T, H, W, 3) in 0 to 1.
"""

import torch
from torch import Tensor

from frostline import findings
from frostline.checks import latent_stats
from frostline.doctor import catalogue
from frostline.findings import Bound, Finding

FINITE = Bound(measure="not_finite", op="==", value=0.0)
DEVIATION = (
    Bound(measure="smallest_ratio", op=">", value=0.5),
    Bound(measure="largest_ratio", op="<", value=2.0),
    Bound(measure="overall_ratio", op=">", value=0.7),
    Bound(measure="overall_ratio", op="<", value=1.4),
)
ALIVE = (Bound(measure="spread_over_seeds", op=">", value=0.02),)
BURNT = (Bound(measure="more_white", op="<", value=0.05),)
NOT_THE_NOISE = (Bound(measure="likeness_to_noise", op="<", value=0.95),)
SEAMS = (
    Bound(measure="seams_over_datas", op="<", value=1.5, otherwise="warn"),
    Bound(measure="seams_over_datas", op="<", value=3.0),
)


def likeness(samples: Tensor, noise: Tensor) -> Finding:
    """D02 of samples: a student that ignores its input gives its noise back."""
    pair = torch.stack([samples.double().flatten(), noise.double().flatten()])
    found = float(torch.corrcoef(pair)[0, 1])
    return findings.judge(catalogue.about("D02"), {"likeness_to_noise": found}, NOT_THE_NOISE)


def collapse(samples: Tensor, data: Tensor, pixels: Tensor | None, real: Tensor | None, prompts: int) -> Finding:
    """D27: judge samples by the data: deviation per channel, spread over seeds, white in pixels.

    Samples are those of ``prompts`` prompts in turn, each from noise of its own.
    """
    about = catalogue.about("D27")
    bad = float((~torch.isfinite(samples)).double().mean())
    if bad:
        return findings.judge(about, {"not_finite": bad}, (FINITE,))
    ratio = latent_stats.channel_stats(samples)[1] / latent_stats.channel_stats(data)[1].clamp_min(1e-6)
    measured = {
        "not_finite": bad,
        "smallest_ratio": float(ratio.min()),
        "largest_ratio": float(ratio.max()),
        "overall_ratio": float(ratio.log().mean().exp()),
        "spread_over_seeds": spread(samples, prompts) / float(data.double().std()),
    }
    bounds = (FINITE, *DEVIATION, *ALIVE)
    if pixels is None or real is None:
        return findings.judge(about, measured, bounds)
    measured["more_white"] = white(pixels) - white(real)
    return findings.judge(about, measured, (*bounds, *BURNT))


def spread(samples: Tensor, prompts: int) -> float:
    """Deviation over the seeds of one prompt, root mean square over all."""
    groups = [samples[n::prompts].double() for n in range(prompts)]
    several = [group.var(0).mean() for group in groups if len(group) > 1]
    return float(torch.stack(several).mean().sqrt()) if several else float(samples.double().std())


def white(pixels: Tensor) -> float:
    """Share of values at full white."""
    return float((pixels >= 254.5 / 255).double().mean())


def seams(samples: Tensor, data: Tensor, border: int) -> Finding:
    """D28: judge decoded samples by the decoded data; ``border`` is how many pixels a patch is wide.

    Both are float pixels (N, T, H, W, 3).
    """
    about = catalogue.about("D28")
    if min(samples.shape[2:4]) <= border or border < 2:
        return findings.not_applicable(about, f"pictures of one patch of {border} pixels have no borders inside")
    own, real = seam_ratio(samples, border), seam_ratio(data, border)
    return findings.judge(about, {"seams": own, "of_data": real, "seams_over_datas": own / real}, SEAMS)


def seam_ratio(pixels: Tensor, border: int) -> float:
    """Mean squared difference of neighbours across borders, over that of neighbours inside a patch."""
    across, inside = [], []
    for dim in (2, 3):
        step = pixels.diff(dim=dim).double().square().transpose(dim, 0).flatten(1).mean(1)  # between n and n + 1
        crosses = (torch.arange(len(step)) + 1) % border == 0
        across.append(step[crosses].mean())
        inside.append(step[~crosses].mean())
    return float(sum(across) / (sum(inside) + 1e-12))


def seam_map(pixels: Tensor) -> Tensor:
    """Where neighbouring pixels differ: (H, W), 0 to 1, means over all samples and frames."""
    down = torch.nn.functional.pad(pixels.diff(dim=2).abs().mean((0, 1, 4)), (0, 0, 1, 0))
    right = torch.nn.functional.pad(pixels.diff(dim=3).abs().mean((0, 1, 4)), (1, 0, 0, 0))
    found = down + right
    return found / found.max().clamp_min(1e-12)
