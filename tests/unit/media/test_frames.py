"""Frame folders: the order of numbers, not of names; gaps are seen."""

from pathlib import Path

import numpy as np
import pytest

from frostline import media

CAP = 1_000_000


def fill(folder: Path, names: list[str], size: int = 8) -> Path:
    for brightness, name in enumerate(names):
        media.write_png(folder / name, np.full((size, size, 3), brightness, np.uint8))
    return folder


def refusal(folder: Path) -> media.Unusable:
    with pytest.raises(media.Unusable, match=folder.name) as caught:
        media.measure_frames(folder, CAP)
    return caught.value


def test_frames_stand_in_the_order_of_their_numbers(tmp_path: Path):
    fill(tmp_path, [f"take2_{number}.png" for number in range(8, 13)])
    (tmp_path / ".hidden").write_text("not looked at")
    assert media.measure_frames(tmp_path, CAP) == media.Extent(width=8, height=8, frames=5, fps=0.0)
    assert media.read_frames(tmp_path, 1, 3, CAP)[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_every_tenth_number_is_no_gap(tmp_path: Path):
    assert media.measure_frames(fill(tmp_path, ["000.png", "010.png", "020.png"]), CAP).frames == 3


@pytest.mark.parametrize("names", [["1.png", "2.png", "4.png"], ["1.png", "01.png"], ["first.png", "2.png"]])
def test_gaps_repeats_and_missing_numbers_are_refused(tmp_path: Path, names: list[str]):
    assert refusal(fill(tmp_path / "clip", names)).reason == "frames_missing"


def test_windows_beyond_the_end_sizes_that_differ_and_empty_folders_are_refused(tmp_path: Path):
    folder = fill(tmp_path / "clip", ["1.png", "2.png"])
    with pytest.raises(media.Unusable, match="before frame 3"):
        media.read_frames(folder, 0, 3, CAP)
    media.write_png(folder / "3.png", np.zeros((4, 4, 3), np.uint8))
    assert "differ in size" in str(refusal(folder))
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").reason == "unreadable"
    assert refusal(tmp_path / "absent").reason == "absent"
