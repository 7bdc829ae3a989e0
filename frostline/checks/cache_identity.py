"""D11 cache-identity: is this cache what this VAE makes today?"""

from collections.abc import Callable

import torch
from torch import Tensor

from frostline import findings
from frostline.findings import Bound, Check, Finding

ABOUT = Check(
    id="D11",
    name="cache-identity",
    question="Is this cache what this VAE makes today?",
    procedure="Encode eight rows again and compare with the stored latents; compare the VAE digests of cache and base.",
    remedy="Run the cache stage again with the base the model is trained for; never copy latents between bases.",
    reference="docs/maths.md; diffusers pull request 7171 (a cache key without the VAE)",
)
LIMITS = {"float32": 1e-3, "bfloat16": 2e-2}


def check(
    *,
    pixels: Tensor,
    stored: Tensor,
    stored_dtype: str,
    encode: Callable[[Tensor], Tensor],
    cache_digest: str,
    base_digest: str,
) -> Finding:
    """Judge raw latents ``stored`` (B, C, T', H', W') by encoding ``pixels`` (B, T, H, W, 3) uint8 again."""
    measured = {
        "relative_error": relative_error(stored, encode(pixels)),
        "same_digest": float(cache_digest == base_digest),
    }
    bounds = (
        Bound(measure="relative_error", op="<", value=LIMITS[stored_dtype]),
        Bound(measure="same_digest", op="==", value=1.0),
    )
    note = "" if cache_digest == base_digest else f"the cache names the VAE {cache_digest}, the base is {base_digest}"
    return findings.judge(ABOUT, measured, bounds, note=note)


def relative_error(stored: Tensor, fresh: Tensor) -> float:
    """Norm of the difference over the norm of the fresh latents."""
    right = fresh.to(torch.float64)
    return float((stored.to(torch.float64) - right).norm() / right.norm())
