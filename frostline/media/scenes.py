"""Where a clip is cut: PySceneDetect's content detector, fed with small frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from frostline.errors import WrongUse

LONGER_SIDE = 128  # pixels of the frames it sees
_ANY_RATE = 25.0  # the detector counts frames; it wants a rate to print times with


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenes:
    """How cuts are found."""

    threshold: float  # of the detector's score: mean change of hue, saturation and brightness, levels of 255
    minimum_frames: int  # of a scene


class Cuts:
    """Looks at the frames of one clip, one after the other."""

    def __init__(self, scenes: Scenes) -> None:
        self._timecode, detector = _detector()
        self._detector = detector(threshold=scenes.threshold, min_scene_len=scenes.minimum_frames)
        self._seen = 0
        self._found: set[int] = set()

    def look(self, small: np.ndarray) -> None:
        """Take in the next frame: uint8 (height, width, blue-green-red)."""
        cuts = self._detector.process_frame(self._timecode(self._seen, _ANY_RATE), small)
        self._found |= {cut.frame_num for cut in cuts}
        self._seen += 1

    def first_frames(self) -> tuple[int, ...]:
        """The first frames of all scenes but the first."""
        last = self._timecode(max(0, self._seen - 1), _ANY_RATE)
        self._found |= {cut.frame_num for cut in self._detector.post_process(last)}
        return tuple(sorted(number for number in self._found if 0 < number < self._seen))


def small_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the frames the detector sees; none is enlarged."""
    share = min(1.0, LONGER_SIDE / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def _detector() -> tuple[Any, Any]:
    try:
        from scenedetect import ContentDetector, FrameTimecode
    except ImportError as error:
        message = f"clips.scene_cuts needs PySceneDetect ({error}): pip install 'frostline[scenes]', or set it to null"
        raise WrongUse(message) from None
    return FrameTimecode, ContentDetector
