"""Frame folders: images in the order they are given, of one size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from frostline import digests, media
from frostline.storage import Blob
from tests.unit.media.looking import LIMITS, blob


def fill(folder: Path, count: int, size: int = 8) -> list[Blob]:
    noise = np.random.default_rng(0).integers(0, 200, (size, size, 3), np.uint8)
    for number in range(count):
        media.write_png(folder / f"{number}.png", noise + np.uint8(number))
    return [blob(folder / f"{number}.png") for number in range(count)]


def read(blobs: Sequence[Blob], *shown: int) -> np.ndarray:
    return media.read(blobs, "frames", shown, (), LIMITS.max_pixels)


def test_what_a_folder_holds(tmp_path: Path):
    blobs = fill(tmp_path, 5)
    found = media.probe(blobs, "frames", LIMITS, None)
    assert found.extent == media.Extent(width=8, height=8, frames=5, fps=0.0)
    assert (found.medium, found.pts, found.time_base, found.cuts) == ("frames", (), (0, 1), ())
    assert found.content == digests.of_json([digests.of_file(one.path) for one in blobs])
    assert found.measures.motion == pytest.approx(1, abs=0.01)
    assert len(found.measures.hashes) == 3


def test_frames_are_read_by_number_and_as_often_as_they_are_shown(tmp_path: Path):
    blobs = fill(tmp_path, 5)
    first = read(blobs, 0)[0].astype(int)
    assert [int((frame - first).mean()) for frame in read(blobs, 1, 1, 3, 4)] == [1, 1, 3, 4]


def test_a_folder_is_the_clip_it_was_taken_from(tmp_path: Path):
    pixels = np.random.default_rng(1).integers(0, 255, (7, 8, 12, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    for number, frame in enumerate(pixels):
        media.write_png(tmp_path / f"{number}.png", frame)
    media.write_lossless_mp4(tmp_path / "clip.mp4", pixels, 8)
    folder = media.probe([blob(tmp_path / f"{number}.png") for number in range(7)], "frames", LIMITS, None).measures
    clip = media.probe([blob(tmp_path / "clip.mp4")], "clip", LIMITS, None).measures
    assert folder.motion == pytest.approx(clip.motion, rel=0.1)
    assert folder.sharpness == pytest.approx(clip.sharpness, rel=0.02)
    assert max((one ^ other).bit_count() for one, other in zip(folder.hashes, clip.hashes, strict=True)) <= 6


def test_numbers_beyond_the_end_and_sizes_that_differ_are_refused(tmp_path: Path):
    blobs = fill(tmp_path, 2)
    with pytest.raises(media.Unusable, match="before frame 3") as caught:
        read(blobs, 1, 2)
    assert caught.value.reason == "too_short"
    media.write_png(tmp_path / "2.png", np.zeros((4, 4, 3), np.uint8))
    blobs.append(blob(tmp_path / "2.png"))
    for use in (lambda: media.probe(blobs, "frames", LIMITS, None), lambda: read(blobs, 0, 2)):
        with pytest.raises(media.Unusable, match=r"2.png: 4 x 4 pixels, the first frame 8 x 8.*differ in size"):
            use()


def test_too_many_frames_and_none_are_refused(tmp_path: Path):
    few = media.Limits(max_pixels=100, max_frames=2)
    for blobs, reason in ((fill(tmp_path, 3), "too_many_frames"), ([], "unreadable")):
        with pytest.raises(media.Unusable) as caught:
            media.probe(blobs, "frames", few, None)
        assert caught.value.reason == reason
