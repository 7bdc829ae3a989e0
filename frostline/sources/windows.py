"""Which frames of a clip become rows: scenes, then the rate, then windows.

The rule of the rate: frame k of a scene that is resampled to ``fps`` shows the source frame that is on screen at
t0 + k / fps, which is the last one that starts then or before; t0 is when the scene's first frame starts, and no frame
is later than its last one. Times in files are rounded to ticks of their clock, so a frame that starts up to half a
tick later counts, but no more than a tenth of 1 / fps later. Frames are repeated or left out, never mixed. Without
``fps``, and for media that name no rate, as folders of frames, the frames are taken as they are.
"""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from frostline.params.sources import ClipParams

HALF_A_TICK, TENTH = Fraction(1, 2), Fraction(1, 10)
LARGEST_DENOMINATOR = 1001  # of a rate as a fraction: 23.976 is 24000/1001


def scenes(frames: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    """(first, one past the last) source frame of every scene; ``cuts`` are the first frames of all but the first."""
    return list(itertools.pairwise([0, *cuts, frames]))


def timeline(
    scene: tuple[int, int], pts: Sequence[int] | np.ndarray, time_base: tuple[int, int], fps: float | None
) -> np.ndarray:
    """The source frame that each frame of a scene shows, at ``fps``; int64 (n,)."""
    first, end = scene
    if fps is None or len(pts) == 0 or time_base[0] == 0:
        return np.arange(first, end)
    rate = Fraction(fps).limit_denominator(LARGEST_DENOMINATOR)
    interval = 1 / (rate * Fraction(*time_base))  # between two frames, in ticks
    starts = np.asarray(pts[first:end], dtype=np.int64) - int(pts[first])
    late = min(HALF_A_TICK, interval * TENTH)
    last = int((int(starts[-1]) + late) / interval)  # number of the last frame
    ticks = _floors(np.arange(last + 1), interval, late)
    return first + np.searchsorted(starts, ticks, side="right") - 1


def choose(available: int, frames: int, params: ClipParams) -> list[int]:
    """First frames of the windows of ``frames`` frames in a scene of ``available``.

    Sliding: every window_stride-th that fits; a rest at the end that is shorter than a window is not used.
    Else the first, the middle one, or windows_per_scene from the first that fits to the last, evenly spread.
    """
    last = available - frames
    if params.use_sliding_window:
        return list(range(0, last + 1, params.window_stride))
    if params.window_choice == "first":
        return [0]
    if params.window_choice == "middle":
        return [last // 2]
    gaps = max(params.windows_per_scene - 1, 1)
    return sorted({(2 * last * number + gaps) // (2 * gaps) for number in range(params.windows_per_scene)})


def _floors(numbers: np.ndarray, interval: Fraction, late: Fraction) -> np.ndarray:
    """floor(number * interval + late), exactly."""
    below = math.lcm(interval.denominator, late.denominator)
    return (numbers * int(interval * below) + int(late * below)) // below
