"""What a picture or a clip looks like, in a few numbers: for the filters, and to find copies.

A frame that is looked at is brought to a thumbnail of 32 x 32 grey levels, antialiased; of a clip, from 64 of its
rows or more. Grey levels run from 0 to 255.
A clip is looked at LOOKS times a second, or as near to that as its frames come; a frame folder at every frame.

brightness  level of the brightest of the 32 x 32 parts; of a clip, in its brightest look
motion      mean change of a part's level from one look to the next; 0 for an image
sharpness   standard deviation of the Laplacian (4 x a pixel - its four neighbours), on at least 32 rows spread evenly,
            of the picture shrunk by 1, 2, 4 or 8: as far as its shorter side keeps 256 pixels, so that it is comparable
            between sizes; of a clip, the mean over every eighth look
hashes      perceptual hash (pHash: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010):
            the 8 x 8 lowest frequencies of the thumbnail's DCT, each against their median, 64 bits; copies differ in
            few of them

All sums are of whole numbers: the same thumbnails give the same measures on any machine.
"""

import bisect
import math
from dataclasses import dataclass

import numpy as np

SIDE = 32  # of a thumbnail
LOW = 8  # frequencies of the hash, in each direction
LOOKS = 8  # a second
DETAIL_EVERY = 8  # looks
DETAIL_ROWS = 32
DETAIL_SIDE = 256
KEPT = 512  # thumbnails: those of a longer clip are thinned out evenly
HASHED = (1, 3, 5)  # sixths of a clip's length

_COSINES = np.rint((1 << 14) * np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(LOW), 2 * np.arange(SIDE) + 1)))
"""(LOW, SIDE): the DCT-II, in whole numbers"""


@dataclass(frozen=True, slots=True)
class Measures:
    """See the module. Floats are exact in 32 bits."""

    brightness: float
    sharpness: float
    motion: float
    hashes: tuple[int, ...]  # one of an image, three of a clip: the looks at 1/6, 3/6 and 5/6 of its frames


class Watch:
    """Looks at frames of one medium, one after the other, and keeps at most 2 x KEPT thumbnails of a long one."""

    def __init__(self) -> None:
        self._looks = self._brightest = self._change = 0
        self._sharpness: list[float] = []
        self._kept: list[tuple[int, np.ndarray]] = []  # number of the frame, thumbnail
        self._step = 1  # every so manyth look is kept
        self._last = np.zeros((SIDE, SIDE), np.int16)

    @property
    def wants_detail(self) -> bool:
        """Shall the next look be at the detail, too?"""
        return self._looks % DETAIL_EVERY == 0

    def detail(self, grey: np.ndarray, steps: int = 255) -> None:
        """Take in a frame, shrunk by ``shrinking``, uint8 (H, W), and how many steps its black is from its white."""
        self._sharpness.append(laplacian_deviation(grey) * 255 / steps)

    def look(self, number: int, thumbnail: np.ndarray) -> None:
        """Take in the frame of this number: uint8 (SIDE, SIDE)."""
        levels = thumbnail.astype(np.int16)
        self._brightest = max(self._brightest, int(levels.max()))
        if self._looks:
            self._change += int(np.abs(levels - self._last).sum())
        if self._looks % self._step == 0:
            self._keep(number, thumbnail)
        self._last = levels
        self._looks += 1

    def measures(self, frames: int, quarter_turns: int = 0) -> Measures:
        """What was seen of so many frames, turned counterclockwise to be upright."""
        places = [frames * sixths // 6 for sixths in HASHED] if frames > 1 else [0]
        shown = [np.rot90(self._shown_at(place), quarter_turns) for place in places]
        return Measures(
            brightness=float(self._brightest),
            sharpness=_exact(sum(self._sharpness) / len(self._sharpness)),
            motion=_exact(self._change / (SIDE * SIDE * max(1, self._looks - 1))),
            hashes=tuple(perceptual_hash(thumbnail) for thumbnail in shown),
        )

    def _keep(self, number: int, thumbnail: np.ndarray) -> None:
        self._kept.append((number, thumbnail))
        if len(self._kept) == 2 * KEPT:
            del self._kept[1::2]
            self._step *= 2

    def _shown_at(self, place: int) -> np.ndarray:
        after = bisect.bisect_right(self._kept, place, key=lambda kept: kept[0])
        return self._kept[after - 1][1]


def perceptual_hash(thumbnail: np.ndarray) -> int:
    """The 64 bits of pHash, the lowest frequency first."""
    low = (_COSINES @ thumbnail @ _COSINES.T).ravel()  # whole and below 2^53: exact in any order of the sums
    middle = np.sort(low)[LOW * LOW // 2 - 1 : LOW * LOW // 2 + 1].sum()  # twice the median
    return int.from_bytes(np.packbits(2 * low > middle).tobytes(), "big")


def shrinking(width: int, height: int) -> int:
    """By how much a picture is shrunk to measure its sharpness."""
    return next(factor for factor in (8, 4, 2, 1) if factor == 1 or min(width, height) // factor >= DETAIL_SIDE)


def laplacian_deviation(grey: np.ndarray) -> float:
    """Standard deviation of the Laplacian of uint8 (H, W), on at least 32 rows spread evenly."""
    height, width = grey.shape
    if height < 3 or width < 3:
        return 0.0
    step = max(1, (height - 2) // DETAIL_ROWS)
    above, centre, below = (grey[row : height - 2 + row : step] for row in range(3))
    laplacian = 4 * centre[:, 1:-1].astype(np.int16)
    for neighbours in (centre[:, :-2], centre[:, 2:], above[:, 1:-1], below[:, 1:-1]):
        laplacian -= neighbours
    values = laplacian.ravel().astype(np.float64)  # whole numbers, and exact sums of them
    return math.sqrt(max(0.0, values @ values / values.size - values.mean() ** 2))


def _exact(value: float) -> float:
    return float(np.float32(value))
