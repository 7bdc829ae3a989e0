"""D09 codec-roundtrip: does this VAE decode these latents?

A cache made with channels swapped, or with pixels in [0, 1] where the VAE takes [-1, 1], decodes to pictures with the
same fault. So each fault is undone on the decoded pictures in turn, and undoing nothing must come nearest to it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from frostline import findings
from frostline.findings import Bound, Check, Finding

ABOUT = Check(
    id="D09",
    name="codec-roundtrip",
    question="Does this VAE decode these latents?",
    procedure="Decode cached latents; compare with the source pixels, as they are and with channels or range undone.",
    remedy="Rebuild the cache with the base named in its contract; "
    "look at channel order and pixel range if another reading fits better.",
    reference="docs/maths.md; diffusion-pipe issue 545 (range [0, 1] for [-1, 1])",
)
DECLARED = "RGB [-1, 1]"
TIE = -1e-3  # decibels: grey pictures read the same in both channel orders, up to the order of a sum (4e-6 was seen)


def check(
    *, pixels: Tensor, latents: Tensor, decode: Callable[[Tensor], Tensor], least_decibels: float = 25.0
) -> Finding:
    """Judge cached latents by their sources.

    ``pixels`` (B, T, H, W, 3) uint8; ``decode`` turns latents into float pictures (B, T, H, W, 3) in [0, 1].
    """
    decibels = readings(decode(latents), pixels)
    others = max(value for name, value in decibels.items() if name != DECLARED)
    bounds = (
        Bound(measure="decibels", op=">=", value=least_decibels),
        Bound(measure="lead_over_other_readings", op=">=", value=TIE),
    )
    measured = {"decibels": decibels[DECLARED], "lead_over_other_readings": decibels[DECLARED] - others}
    best = max(decibels, key=lambda name: decibels[name])
    note = "" if decibels[DECLARED] - others >= TIE else f"read as {best} it fits better"
    return findings.judge(ABOUT, measured, bounds, note=note)


def readings(decoded: Tensor, pixels: Tensor) -> dict[str, float]:
    """Peak signal-to-noise ratio in decibels under each reading of channel order and pixel range."""
    source = pixels.to(torch.float64) / 255.0
    plain = decoded.to(torch.float64)
    stretched = (2.0 * plain - 1.0).clamp(0.0, 1.0)
    return {
        DECLARED: peak_ratio(plain, source),
        "BGR [-1, 1]": peak_ratio(plain.flip(-1), source),
        "RGB [0, 1]": peak_ratio(stretched, source),
        "BGR [0, 1]": peak_ratio(stretched.flip(-1), source),
    }


def peak_ratio(pictures: Tensor, source: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels of pictures in [0, 1]; 200 where they are equal."""
    error = float((pictures - source).square().mean())
    return float(-10.0 * torch.log10(torch.tensor(max(error, 1e-20), dtype=torch.float64)))
