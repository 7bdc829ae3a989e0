"""Damaged files, many: each reads, or is refused by name; nothing else is ever raised."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline import media
from tests.unit.media import looking

FRAMES = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), np.uint8)


def damaged(data: bytes, number: int) -> bytes:
    """A few bytes changed, anywhere or near the start, or the end cut off."""
    random, changed = np.random.default_rng(number), bytearray(data)
    if number % 3 == 2:
        return data[: random.integers(len(data))]
    reach = len(data) if number % 3 else min(200, len(data))
    for place in random.integers(0, reach, 8):
        changed[place] = random.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "mp4", "gif"])
def test_damage_is_read_over_or_refused_by_name(tmp_path: Path, kind: str):
    path, refusals = tmp_path / f"file.{kind}", []
    if kind.isupper():
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(FRAMES[0]).save(path, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "TIFF") else {}))
    else:
        media.write(path, FRAMES, 16)
    data = path.read_bytes()
    for number in range(40):
        path.write_bytes(damaged(data, number))
        medium = "image" if kind.isupper() else "clip"
        try:
            found = looking.probe(path, medium)
        except media.Unusable as error:
            refusals.append(str(error))
            continue
        shown, pts = range(found.extent.frames), found.pts  # what was found good can be read
        pixels = media.read([looking.blob(path)], medium, shown, pts, looking.LIMITS.max_pixels)
        assert pixels.shape[:3] == (found.extent.frames, found.extent.height, found.extent.width)
    assert refusals  # most kinds refuse half of them; a GIF cut off between frames is only shorter
    assert all(path.name in message for message in refusals)


def test_a_clip_of_an_unknown_codec_is_refused(tmp_path: Path):
    media.write_mp4(tmp_path / "clip.mp4", FRAMES, 16)
    (tmp_path / "clip.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(media.Unusable, match="no moving pictures that can be decoded") as caught:
        looking.probe(tmp_path / "clip.mp4", "clip")
    assert caught.value.reason == "not_a_clip"
