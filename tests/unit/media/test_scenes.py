"""Cuts between scenes, where PySceneDetect is installed, and what is said where it is not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from frostline import errors, media
from tests.unit.media.looking import LIMITS, blob

SCENES = media.Scenes(threshold=27, minimum_frames=6)
FIRSTS = (10, 26)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Three scenes in which something moves a little: (40, 48, 160, 3)."""
    frames = np.zeros((40, 48, 160, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:] = ((200, 30, 30), (10, 60, 20), (240, 240, 250))[sum(number >= first for first in FIRSTS)]
        frame[10:20, number : number + 10] = 90
    return frames


def cuts(path: Path, scenes: media.Scenes | None = SCENES) -> tuple[int, ...]:
    pytest.importorskip("scenedetect")
    return media.probe([blob(path)], "clip", LIMITS, scenes).cuts


def test_cuts_are_the_first_frames_of_scenes(tmp_path: Path, pixels: np.ndarray):
    media.write_mp4(tmp_path / "a.mp4", pixels, 16)
    assert cuts(tmp_path / "a.mp4") == FIRSTS
    assert cuts(tmp_path / "a.mp4", None) == ()
    media.write_mp4(tmp_path / "a.mp4", pixels[:10], 16)
    assert cuts(tmp_path / "a.mp4") == ()


def test_scenes_have_a_minimum_length(tmp_path: Path, pixels: np.ndarray):
    media.write_mp4(tmp_path / "a.mp4", pixels, 16)
    assert cuts(tmp_path / "a.mp4", media.Scenes(threshold=27, minimum_frames=25)) in ((), (26,))


def test_cuts_of_a_frame_folder(tmp_path: Path, pixels: np.ndarray):
    pytest.importorskip("scenedetect")
    for number, frame in enumerate(pixels):
        media.write_png(tmp_path / f"{number}.png", frame)
    blobs = [blob(tmp_path / f"{number}.png") for number in range(40)]
    found = media.probe(blobs, "frames", LIMITS, SCENES)
    assert found.cuts == FIRSTS
    assert found.measures == media.probe(blobs, "frames", LIMITS, None).measures


def test_without_pyscenedetect_the_remedy_is_said(tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    media.write_mp4(tmp_path / "a.mp4", pixels[:2], 16)
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    with pytest.raises(errors.WrongUse, match=r"pip install 'frostline\[scenes\]', or set it to null") as caught:
        media.probe([blob(tmp_path / "a.mp4")], "clip", LIMITS, SCENES)
    assert not isinstance(caught.value, media.Unusable)  # nothing is wrong with the clip
