"""Samples side by side: strips, grids, and their bytes.

Shapes: pictures uint8 (K, T, H, W, 3); a strip and a grid are clips (T, H', W', 3), an image has T = 1.
"""

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from frostline import media

GAP = 2  # pixels between pictures
GROUND = 24  # grey value of the gaps
FPS = 5.0  # of clips in the report
HOLD = 3  # times a clip's last frame is shown again before the clip starts anew


class Strip(NamedTuple):
    """One model's pictures of one prompt, ready for a data URI."""

    name: str
    mime: str
    base64: str
    width: int
    height: int


def row(pictures: np.ndarray) -> np.ndarray:
    """Pictures (K, T, H, W, 3) beside each other: (T, H, K * W + gaps, 3)."""
    _, frames, height, _, _ = pictures.shape
    gap = np.full((frames, height, GAP, 3), GROUND, dtype=np.uint8)
    return np.concatenate(_between(list(pictures), gap), axis=2)


def grid(rows: Sequence[np.ndarray], scale: int = 2) -> np.ndarray:
    """Strips of one width below each other, enlarged by a whole number."""
    frames, _, width, _ = rows[0].shape
    gap = np.full((frames, GAP, width, 3), GROUND, dtype=np.uint8)
    return np.concatenate(_between(list(rows), gap), axis=1).repeat(scale, axis=1).repeat(scale, axis=2)


def held(clip: np.ndarray) -> np.ndarray:
    """A clip (T, H, W, 3) that rests on its last frame before it starts anew."""
    return np.concatenate([clip, clip[-1:].repeat(HOLD, axis=0)]) if len(clip) > 1 else clip


def strip(name: str, pictures: np.ndarray) -> Strip:
    """Pictures (K, T, H, W, 3) as an embedded PNG, or GIF if they move."""
    pixels = row(pictures)
    still = len(pixels) == 1
    data = media.png(pixels[0]) if still else media.gif(held(pixels), FPS)
    height, width = pixels.shape[1:3]
    return Strip(name, "image/png" if still else "image/gif", base64.b64encode(data).decode(), width, height)


def _between(parts: list[np.ndarray], gap: np.ndarray) -> list[np.ndarray]:
    return [parts[0], *(piece for part in parts[1:] for piece in (gap, part))]
