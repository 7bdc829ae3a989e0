"""What comes after a clip: its frames read as a model takes them, the next ones made, both shown side by side.

    given     the frames that a model goes on from                      uint8 (n, H, W, 3)
    true      those that really followed, where the clip has them       uint8 (m, H, W, 3)
    made      those the model makes                                     uint8 (T - n, H, W, 3)

A clip is read as sources are: brought to the rate by leaving out or repeating frames, cut in its centre to the aspect
of the bucket, resized.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from frostline import media, storage
from frostline.errors import WrongUse
from frostline.generation import Draw, Generator
from frostline.media import Limits
from frostline.params.sources import CropParams
from frostline.sources import buckets, windows
from frostline.sources.listing import frame_folders

LIMITS = Limits(max_pixels=89_000_000, max_frames=1_000_000)
CENTRE = CropParams(place="centre", seed=0, flip=False)
GAP = 2  # pixels between two clips side by side


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A clip as a model takes it, of a bucket's size."""

    bucket: buckets.Bucket
    fps: float  # 0 where nothing tells it: a folder of frames
    given: np.ndarray
    true: np.ndarray


def read(path: Path, sizes: Sequence[buckets.Bucket], given: int, *, fps: float | None, at: int | None) -> Shown:
    """The ``given`` frames before frame ``at`` of a clip or a folder of frames, or its last, and what follows them.

    Of the buckets the one with the nearest aspect shows them, of several the longest. ``fps`` is the rate that frames
    are taken at; None takes all. Frames are counted from 0 at that rate. Raises media.Unusable for what is no clip,
    WrongUse if it is too short.
    """
    if path.is_dir():
        blobs, medium = frame_folders.frames(str(path.parent), path.name), "frames"
    else:
        blobs, medium = (storage.blob(str(path.parent), path.name),), None
    found = media.probe(blobs, medium, LIMITS, None)
    line = windows.timeline((0, found.extent.frames), found.pts, found.time_base, fps)
    end = len(line) if at is None else at
    if not given <= end <= len(line):
        where = "" if at is None else f" before frame {at}"
        raise WrongUse(
            f"{path}: {len(line)} frame(s){'' if fps is None else f' at {fps:g} a second'}, and the model goes on from "
            f"{given}{where}; give a longer clip, or another place"
        )
    bucket = min(sizes, key=lambda one: (_apart(one, found.extent), -one[0]))
    frames, height, width = bucket
    numbers = line[end - given : end - given + frames].tolist()
    pts = [found.pts[number] for number in numbers] if found.pts else ()
    raw = media.read(blobs, found.medium, numbers, pts, LIMITS.max_pixels)
    pixels = media.resize(raw, buckets.crop(bucket, found.extent, CENTRE, path.name), height, width)
    return Shown(bucket=bucket, fps=fps or found.extent.fps, given=pixels[:given], true=pixels[given:])


def _apart(bucket: buckets.Bucket, extent: media.Extent) -> float:
    """How far the aspects are apart: 0 if equal."""
    return abs(math.log(bucket[2] * extent.height / (bucket[1] * extent.width)))


def go_on(generator: Generator, shown: Shown, prompt: str, draw: Draw) -> np.ndarray:
    """The frames that a model makes after those that are given: uint8 (T - n, H, W, 3)."""
    context = generator.contexts(torch.from_numpy(np.ascontiguousarray(shown.given))[None])
    [made] = generator.sample([prompt], draw, context)
    return made.cpu().numpy()[len(shown.given) :]


def beside(shown: Shown, made: np.ndarray) -> np.ndarray:
    """Left what really is, right what the model makes of its beginning; a clip that ends stands still."""
    true = np.concatenate([shown.given, shown.true])
    count = len(shown.given) + len(made)
    true = np.concatenate([true, np.repeat(true[-1:], count - len(true), axis=0)])
    gap = np.full((count, true.shape[1], GAP, 3), 255, np.uint8)
    return np.concatenate([true, gap, np.concatenate([shown.given, made])], axis=2)
