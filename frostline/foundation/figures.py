"""How well a VAE gives back real pictures.

Names:  dB   10 log10(1 / mean squared error) over all pixels of all clips together, pixels in [0, 1]
        n    clips measured: one placement of each scan; clips of scan k drift in direction k modulo 4
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from frostline import codec, digits
from frostline.foundation import vae as training

BATCH = 60  # clips per encoding


class Fidelity(NamedTuple):
    """A measured fidelity."""

    db: float
    n: int


def psnr(base: str | Path, split: digits.Split, at_most: int = digits.SIZES["train"]) -> dict[int, Fidelity]:
    """Fidelity of a base folder's VAE by the number of frames, by way of the codec's normalised latents.

    Measured on the first `at_most` scans of the split.
    """
    coder = codec.Codec(base, stored_dtype="float32")
    scans = digits.members(split)[:at_most]
    return _measure(lambda pixels: coder.decode_float(coder.normalise(coder.encode(pixels))), scans)


def of_vae(vae: AutoencoderKLWan, scans: np.ndarray) -> dict[int, Fidelity]:
    """Fidelity of a VAE in memory on some scans, by the number of frames."""

    @torch.inference_mode()
    def there_and_back(pixels: Tensor) -> Tensor:
        raw = training.posterior(vae, pixels.permute(0, 4, 1, 2, 3) / 127.5 - 1).mean
        return (training.decode(vae, raw).permute(0, 2, 3, 4, 1) + 1) / 2

    return _measure(there_and_back, scans)


def drifting(scan: int, frames: int, variant: int = 0) -> np.ndarray:
    """The picture of a scan that figures are measured on: uint8 (frames, 32, 32, 3)."""
    return digits.render(scan, variant, frames, None if frames == 1 else digits.MOTIONS[scan % len(digits.MOTIONS)])


def _measure(there_and_back: Callable[[Tensor], Tensor], scans: np.ndarray) -> dict[int, Fidelity]:
    return {frames: _fidelity(there_and_back, scans, frames) for frames in training.FRAMES}


def _fidelity(there_and_back: Callable[[Tensor], Tensor], scans: np.ndarray, frames: int) -> Fidelity:
    squares = 0.0  # summed over clips
    for at in range(0, len(scans), BATCH):
        clips = np.stack([drifting(int(scan), frames) for scan in scans[at : at + BATCH]])
        again = there_and_back(torch.from_numpy(clips))  # float32 (B, T, H, W, 3) in [0, 1]
        squares += float((again - torch.from_numpy(clips) / 255).square().mean()) * len(clips)
    return Fidelity(round(float(10 * np.log10(len(scans) / squares)), 2), len(scans))
