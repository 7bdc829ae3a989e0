"""Frame folders: a clip as a folder of numbered images."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from frostline.media import images
from frostline.media.kinds import Extent, Unusable


def frame_files(folder: str | Path) -> list[Path]:
    """The images of a frame folder in the order of the last number in their names; refuses gaps and other files."""
    folder = Path(folder)
    if not folder.is_dir():
        raise Unusable("absent", f"{folder}: no such folder")
    found = sorted((_number(file), file) for file in folder.iterdir() if not file.name.startswith("."))
    if not found:
        raise Unusable("unreadable", f"{folder}: an empty folder")
    steps = {after - before for (before, _), (after, _) in itertools.pairwise(found)}
    if len(steps) > 1 or 0 in steps:
        raise Unusable(
            "frames_missing", f"{folder}: its frames are not evenly numbered (gaps or repeats); number them anew"
        )
    return [file for _, file in found]


def read_frames(folder: str | Path, start: int, frames: int, max_pixels: int) -> np.ndarray:
    """``frames`` images of a frame folder from the ``start``-th on: uint8 (T, H, W, 3)."""
    chosen = frame_files(folder)[start : start + frames]
    if len(chosen) < frames:
        raise Unusable("too_short", f"{folder}: ends before frame {start + frames}")
    pictures = [images.read_image(file, max_pixels) for file in chosen]
    _require_one_size(Path(folder), [picture.shape for picture in pictures])
    return np.stack(pictures)


def measure_frames(folder: str | Path, max_pixels: int) -> Extent:
    """Decode every frame of a frame folder and say what it holds."""
    shapes = [images.read_image(file, max_pixels).shape for file in frame_files(folder)]
    _require_one_size(Path(folder), shapes)
    height, width, _ = shapes[0]
    return Extent(width=width, height=height, frames=len(shapes), fps=0.0)


def _number(file: Path) -> int:
    numbers = re.findall(r"\d+", file.stem)
    if not numbers:
        raise Unusable("frames_missing", f"{file}: no number in its name says its place; number it or take it out")
    return int(numbers[-1])


def _require_one_size(folder: Path, shapes: Sequence[tuple[int, ...]]) -> None:
    sizes = sorted({(width, height) for height, width, _ in shapes})
    if len(sizes) > 1:
        raise Unusable("unreadable", f"{folder}: its frames differ in size (width, height): {sizes}")
