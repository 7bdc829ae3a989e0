"""Small Wan models with seeded weights and inputs, the same for us and for the published implementation.

``published.json`` holds what the code that Wan-AI published made of them in float32, with plain attention: Wan2.1 at
9737cba (github.com/Wan-Video/Wan2.1) and Wan2.2 at 42bf4cf (github.com/Wan-Video/Wan2.2). Weights and inputs come from
Philox counters by native name, so nothing of that code is needed to compare with it.
"""

import hashlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

SKETCH = 128  # values kept of each tensor
WIDTH, HEADS, FFN, LAYERS, FREQ, TEXT = 48, 2, 64, 2, 32, 24

TRANSFORMERS: dict[str, dict[str, Any]] = {
    "high-noise": {"seed": 1, "channels": (16, 16), "image": False},
    "low-noise": {"seed": 2, "channels": (16, 16), "image": False},
    "5b": {"seed": 3, "channels": (48, 48), "image": False},
    "i2v": {"seed": 4, "channels": (36, 16), "image": True},
}
"""Name to seed, channels in and out, and whether it sees a CLIP embedding."""

FRAMES = (1, 21)  # of latents
TOKENS = (1, 77, 512)
TIMESTEPS = (999.0, 875.0, 312.0)

VAES: dict[str, dict[str, Any]] = {
    "2.1": {"seed": 5, "dim": 8, "decoder": 8, "z_dim": 16},
    "2.2": {"seed": 6, "dim": 16, "decoder": 24, "z_dim": 48},
}
PIXEL_FRAMES, SIDE = (1, 21), 32

TEXT_ENCODER = {"vocab": 96, "dim": 32, "heads": 4, "attention": 32, "ffn": 48, "layers": 3, "buckets": 32, "seed": 7}

PROMPTS = (
    "",
    "  a cat\twalks \n over\u00a0the\u3000roof  ",
    "fish &amp; chips, 3 &lt; 4, twice &amp;amp; again",
    "the cafÃ© thatâ€™s closed",
    "“curly quotes” and ﬁ ligatures, full－width：ＡＢＣ",
    "一只猫，坐在屋顶上。 夕阳",
    "zero\u200bwidth, a bell \x07 and a soft\u00adhyphen",
    "UPPER case, under_score and punctuation!?",
    "e\u0301 composed or not: \u00e9",
    "<b>markup</b> &nbsp; &copy; &#39;quoted&#39; &#x27;",
    "\x1b[31mred\x1b[0m \ufeff mark",
    "line\u2028separator and\u0085next line",
)

SAMPLINGS = ((4, 5.0), (20, 3.0), (50, 12.0))  # steps, shift
BOUNDARY, GUIDANCE = 0.875, (4.0, 3.0)  # of the two experts, high noise first


def uniform(shape: tuple[int, ...], *key: object) -> Tensor:
    """Numbers in -1 to 1, float32: a function of a key alone, on every machine."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    stream = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    raw = stream.random_raw(math.prod(shape)).astype(np.uint64) >> np.uint64(40)  # 24 bits: exact in float32
    return torch.from_numpy((raw.astype(np.float64) / 2**23 - 1).astype(np.float32)).reshape(shape)


def normal(shape: tuple[int, ...], *key: object) -> Tensor:
    """Numbers of deviation 1, float32."""
    return uniform(shape, *key) * 3**0.5


def weight(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """The seeded value of a tensor, by its native name: gains near 1, matrices that keep what they take at its size."""
    if (
        name.endswith("gamma")
        or ("norm" in name and name.endswith("weight"))
        or name in ("img_emb.proj.0.weight", "img_emb.proj.4.weight")
    ):
        return 1 + 0.1 * uniform(shape, seed, name)
    if len(shape) == 1 or "modulation" in name:
        return 0.1 * uniform(shape, seed, name)
    if "embedding.weight" in name and len(shape) == 2:
        return normal(shape, seed, name)
    return normal(shape, seed, name) / math.prod(shape[1:]) ** 0.5


def sketch(tensor: Tensor) -> dict[str, Any]:
    """What is kept of a tensor: shape, norm, and values at even distances."""
    flat = tensor.detach().double().flatten()
    places = torch.linspace(0, len(flat) - 1, min(SKETCH, len(flat))).round().long()
    return {
        "shape": list(tensor.shape),
        "norm": float(flat.norm()),
        "values": [float(f"{value:.9g}") for value in flat[places].tolist()],
    }


def distance(expected: dict[str, Any], found: Tensor) -> float:
    """How far a tensor is from what was kept of another, relative to it; infinite if shapes differ."""
    ours = sketch(found)
    if ours["shape"] != expected["shape"]:
        return math.inf
    values = np.subtract(ours["values"], expected["values"])
    return max(
        float(np.linalg.norm(values) / np.linalg.norm(expected["values"])),
        abs(ours["norm"] - expected["norm"]) / expected["norm"],
    )


def toy_velocity(noised: Tensor, timestep: float) -> Tensor:
    """A velocity that bends: for samplers without a network."""
    sigma = timestep / 1000
    return noised * math.cos(3 * sigma) - sigma * torch.sin(5 * noised)
