"""What a picture or a clip looks like, in a few numbers: for the filters, and to find copies.

Each frame is brought to a thumbnail of 32 x 32 grey levels, antialiased. Grey levels run from 0 to 255.

brightness  level of the brightest of the 32 x 32 parts; of a clip, in its brightest frame
motion      mean change of a part's level from one frame to the next: at the clip's own rate, so it is smaller at a
            higher one; 0 for an image
sharpness   standard deviation of the Laplacian (4 x a pixel - its four neighbours) at full resolution, on at least 32
            rows spread evenly; of a clip, the mean over every 16th frame
hashes      perceptual hash (pHash: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010):
            the 8 x 8 lowest frequencies of the thumbnail's DCT, each against their median, 64 bits; copies differ in
            few of them

All sums are of whole numbers: the same thumbnails give the same measures on any machine.
"""

import math
from dataclasses import dataclass

import numpy as np

SIDE = 32  # of a thumbnail
LOW = 8  # frequencies of the hash, in each direction
DETAIL_EVERY = 16  # frames
DETAIL_ROWS = 32
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
    hashes: tuple[int, ...]  # one of an image, three of a clip: at 1/6, 3/6 and 5/6 of its frames


class Watch:
    """Looks at the frames of one medium, one after the other, and keeps KEPT to 2 x KEPT thumbnails of a long one."""

    def __init__(self) -> None:
        self._seen = self._brightest = self._change = 0
        self._sharpness: list[float] = []
        self._kept: list[np.ndarray] = []
        self._step = 1  # every so manyth thumbnail is kept
        self._last = np.zeros((SIDE, SIDE), np.int16)

    def look(self, thumbnail: np.ndarray) -> None:
        """Take in the next frame: uint8 (SIDE, SIDE)."""
        levels = thumbnail.astype(np.int16)
        self._brightest = max(self._brightest, int(levels.max()))
        if self._seen:
            self._change += int(np.abs(levels - self._last).sum())
        if self._seen % self._step == 0:
            self._keep(thumbnail)
        self._last = levels
        self._seen += 1

    @property
    def wants_detail(self) -> bool:
        """Shall the next frame be looked at in full?"""
        return self._seen % DETAIL_EVERY == 0

    def detail(self, grey: np.ndarray, steps: int = 255) -> None:
        """Take in a frame in full, uint8 (H, W), and how many steps there are from its black to its white."""
        self._sharpness.append(laplacian_deviation(grey) * 255 / steps)

    def measures(self, quarter_turns: int, *, moving: bool) -> Measures:
        """What was seen, turned counterclockwise to be upright."""
        places = [self._seen * sixths // 6 for sixths in HASHED] if moving else [0]
        shown = [np.rot90(self._kept[place // self._step], quarter_turns) for place in places]
        return Measures(
            brightness=float(self._brightest),
            sharpness=_exact(sum(self._sharpness) / len(self._sharpness)),
            motion=_exact(self._change / (SIDE * SIDE * max(1, self._seen - 1))),
            hashes=tuple(perceptual_hash(thumbnail) for thumbnail in shown),
        )

    def _keep(self, thumbnail: np.ndarray) -> None:
        self._kept.append(thumbnail)
        if len(self._kept) == 2 * KEPT:
            del self._kept[1::2]
            self._step *= 2


def perceptual_hash(thumbnail: np.ndarray) -> int:
    """The 64 bits of pHash, the lowest frequency first."""
    low = (_COSINES @ thumbnail @ _COSINES.T).ravel()  # whole and below 2^53: exact in any order of the sums
    middle = np.sort(low)[LOW * LOW // 2 - 1 : LOW * LOW // 2 + 1].sum()  # twice the median
    return int.from_bytes(np.packbits(2 * low > middle).tobytes(), "big")


def laplacian_deviation(grey: np.ndarray) -> float:
    """Standard deviation of the Laplacian of uint8 (H, W), on at least 32 rows spread evenly."""
    height, width = grey.shape
    if height < 3 or width < 3:
        return 0.0
    step = max(1, (height - 2) // DETAIL_ROWS)
    above, centre, below = (grey[row : height - 2 + row : step].astype(np.int16) for row in range(3))
    laplacian = 4 * centre[:, 1:-1] - centre[:, :-2] - centre[:, 2:] - above[:, 1:-1] - below[:, 1:-1]
    count, total = laplacian.size, int(laplacian.sum(dtype=np.int64))
    squares = int(np.square(laplacian, dtype=np.int32).sum(dtype=np.int64))
    return math.sqrt((squares * count - total * total) / count**2)


def _exact(value: float) -> float:
    return float(np.float32(value))
