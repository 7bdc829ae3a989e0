"""Local files through the doors of media, as sources go through them."""

from pathlib import Path

import numpy as np
import pytest

from frostline import media, storage
from frostline.media import Medium, Probe

LIMITS = media.Limits(max_pixels=1_000_000, max_frames=1000)


def blob(path: Path) -> storage.Blob:
    return storage.blob(str(path.parent), path.name)


def probe(path: Path, medium: Medium | None = None, limits: media.Limits = LIMITS) -> Probe:
    return media.probe([blob(path)], medium, limits, None)


def image(path: Path) -> np.ndarray:
    """The picture in an image: (H, W, 3)."""
    return media.read([blob(path)], "image", (), (), LIMITS.max_pixels)[0]


def clip(path: Path, start: int, frames: int) -> np.ndarray:
    """Some frames of a clip in a row, read as a row of a manifest is: (T, H, W, 3)."""
    shown = range(start, start + frames)
    pts = probe(path, "clip").pts
    return media.read([blob(path)], "clip", shown, [pts[number] for number in shown], LIMITS.max_pixels)


def refusal(path: Path, medium: Medium | None = None, limits: media.Limits = LIMITS) -> media.Unusable:
    """Why a file is not taken."""
    with pytest.raises(media.Unusable, match=path.name) as caught:
        probe(path, medium, limits)
    return caught.value
