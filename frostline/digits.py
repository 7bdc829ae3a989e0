"""The embedded data: scikit-learn's handwritten digits as captioned images and drifting clips.

Names:  scan     index of one of the 1797 real 8 x 8 scans (UCI Optical Recognition of Handwritten Digits, test part)
        variant  which placement of a scan; the same (scan, variant, motion) always gives the same picture
        motion   direction in which the digit drifts, as the viewer sees it ("left" = towards column 0)
Units:  pixels of the rendered frame unless said otherwise; a digit is 20 pixels wide in a frame of 32.

A frame is the bicubic interpolation (Keys 1981, a = -1/2) of the scan on black ground, evaluated once at the final
sub-pixel position, so a drift has no steps and an image is sharp whatever its placement.
"""

import functools
from typing import Literal

import numpy as np

Motion = Literal["left", "right", "up", "down"]
Split = Literal["train", "validation", "test"]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOTIONS: tuple[Motion, ...] = ("left", "right", "up", "down")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SIZES = {"train": 1257, "validation": 180, "test": 360}

_STEP = {"left": (0.0, -1.0), "right": (0.0, 1.0), "up": (-1.0, 0.0), "down": (1.0, 0.0)}  # (rows, columns)
_SCAN = 8  # scan pixels per side
_WHITE = 16.0  # brightest value of a scan
_EXTENT = 20 / 32  # side of a digit / side of the frame
_DRIFT = 8 / 32  # way of a clip / side of the frame
_JITTER_IMAGE = 3 / 32  # an image is placed up to this far off the centre, each axis
_JITTER_CLIP = 2 / 32  # so is the middle of a clip's way


def scans() -> np.ndarray:
    """The real scans: uint8 (1797, 8, 8), values 0 to 16, read-only."""
    return _load()[0]


def labels() -> np.ndarray:
    """Which digit each scan shows: int64 (1797,), read-only."""
    return _load()[1]


def split(scan: int) -> Split:
    """The split a scan belongs to: stratified by digit, 1257 train, 180 validation, 360 test, fixed for good."""
    return _splits()[scan]


def members(name: Split) -> np.ndarray:
    """The scans of one split, ascending: int64 (n,)."""
    return np.flatnonzero(np.array(_splits()) == name)


def caption(label: int, motion: Motion | None = None) -> str:
    """What a picture of `label` is called: "a handwritten digit seven", for a clip "... seven moving left"."""
    still = f"a handwritten digit {WORDS[label]}"
    return still if motion is None else f"{still} moving {motion}"


def render(scan: int, variant: int, frames: int, motion: Motion | None = None, size: int = 32) -> np.ndarray:
    """One image (frames = 1) or clip of a scan: uint8 (frames, size, size, 3), grey in RGB, deterministic.

    A clip with a motion drifts a quarter of the frame from its first to its last frame; without one it stands still.
    """
    top_left = _places(scan, variant, frames, motion) * size  # (frames, 2)
    rows, columns = (_weights(top_left[:, axis], size) for axis in (0, 1))  # (frames, size, 8)
    grey = np.einsum("fis,st,fjt->fij", rows, scans()[scan] / _WHITE, columns)
    pixels = np.rint(grey.clip(0, 1) * 255).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=-1)


def _places(scan: int, variant: int, frames: int, motion: Motion | None) -> np.ndarray:
    """Upper left corner of the digit in each frame, in frame sides: float64 (frames, 2) as (row, column)."""
    drifts = motion is not None
    jitter = np.random.default_rng((scan, variant, MOTIONS.index(motion) + 1 if drifts else 0)).uniform(-1, 1, 2)
    middle = (1 - _EXTENT) / 2 + jitter * (_JITTER_CLIP if drifts else _JITTER_IMAGE)
    way = np.multiply(_STEP[motion], _DRIFT) if drifts else np.zeros(2)
    return middle + np.linspace(-0.5, 0.5, frames)[:, None] * way


def _weights(start: np.ndarray, size: int) -> np.ndarray:
    """Bicubic weight of each scan row for each frame row, digits beginning at `start`: (frames, size, 8)."""
    scale = _SCAN / (_EXTENT * size)  # scan pixels per frame pixel
    position = (np.arange(size) + 0.5 - start[:, None]) * scale - 0.5  # (frames, size), in scan pixels
    return _keys(position[..., None] - np.arange(_SCAN))


def _keys(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -1/2 (IEEE ASSP-29, 1981, eq. 15)."""
    d = np.abs(distance)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


@functools.cache
def _load() -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets  # only here: 1 s to import, and only pipelines on the embedded data need it

    flat, target = datasets.load_digits(return_X_y=True)  # (1797, 64), (1797,)
    found = np.asarray(flat).astype(np.uint8).reshape(-1, _SCAN, _SCAN), np.asarray(target).astype(np.int64)
    for array in found:
        array.setflags(write=False)
    return found


@functools.cache
def _splits() -> tuple[Split, ...]:
    """Scans of each digit in a fixed random order, dealt so that every split has the same share of each digit."""
    order = np.random.default_rng(1797).permutation(len(labels()))
    place = np.empty(len(order))
    for label in range(len(WORDS)):
        mine = order[labels()[order] == label]
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)  # rank within the digit, in (0, 1)
    ranked = np.lexsort((np.arange(len(place)), place))
    bounds = np.cumsum([SIZES[name] for name in SPLITS])
    rank = np.empty(len(ranked), dtype=np.int64)
    rank[ranked] = np.arange(len(ranked))
    return tuple(SPLITS[int(np.searchsorted(bounds, position, side="right"))] for position in rank)
