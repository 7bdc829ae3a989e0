"""What is written can be read back; a failure leaves what was there."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline import errors, media
from tests.unit.media import looking


def clip(frames: int = 5, height: int = 32, width: int = 48) -> np.ndarray:
    """A square that moves to the right."""
    pixels = np.zeros((frames, height, width, 3), np.uint8)
    for index in range(frames):
        pixels[index, 8:24, 4 * index : 4 * index + 16] = (250, 120, 20)
    return pixels


def test_png_is_exact(tmp_path: Path):
    media.write(tmp_path / "a.png", clip(1), 16)
    np.testing.assert_array_equal(looking.image(tmp_path / "a.png"), clip(1)[0])


def test_gif_keeps_frames_and_time(tmp_path: Path):
    media.write(tmp_path / "a.gif", clip(), 8)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.format, image.info["loop"], image.info["duration"]) == ("GIF", 0, 120)
        frames = []
        for index in range(5):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
    np.testing.assert_allclose(np.stack(frames).astype(int), clip(), atol=2)


def test_mp4_keeps_frames_and_rate_and_is_close(tmp_path: Path):
    media.write(tmp_path / "a.mp4", clip(), 12.5)
    assert looking.probe(tmp_path / "a.mp4").extent == media.Extent(width=48, height=32, frames=5, fps=12.5)
    error = looking.clip(tmp_path / "a.mp4", 0, 5).astype(int) - clip()
    assert np.sqrt((error**2).mean()) < 12


@pytest.mark.parametrize("ending", [".png", ".gif", ".mp4"])
def test_equal_pixels_are_equal_bytes(tmp_path: Path, ending: str):
    frames = 1 if ending == ".png" else 5
    for name in "ab":
        media.write(tmp_path / f"{name}{ending}", clip(frames), 16)
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_what_cannot_be_written_is_refused_and_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.mp4"
    path.write_text("old")
    for pixels, match in ((clip(width=47), "even"), (clip() / 255, "float64"), (clip()[0], "uint8")):
        with pytest.raises(errors.WrongUse, match=match):
            media.write_mp4(path, pixels, 16)
    with pytest.raises(errors.WrongUse, match=r"5 frame\(s\) can be written as .gif or .mp4"):
        media.write(tmp_path / "a.png", clip(), 16)
    with pytest.raises(errors.WrongUse, match=r"png, .gif or .mp4"):
        media.write(tmp_path / "a.webp", clip(1), 16)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
