"""Images as a viewer shows them, and what is refused; every file is a real one made here."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline import media

CAP = 1_000_000


def corners() -> np.ndarray:
    """A picture whose four quarters differ: (4, 6, 3)."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2, :3], pixels[:2, 3:], pixels[2:, :3] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return pixels


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_what_a_file_is_its_bytes_say(tmp_path: Path):
    path = tmp_path / "picture.mp4"
    Image.fromarray(corners()).save(path, "PNG")
    assert media.image_format(path) == "PNG"
    assert media.clip_format(path) is None
    np.testing.assert_array_equal(media.read_image(path, CAP), corners())


@pytest.mark.parametrize("kind", ["BMP", "PNG", "TIFF", "WEBP", "GIF"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, kind: str):
    path = tmp_path / "picture"
    Image.fromarray(corners()).save(path, kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(media.read_image(path, CAP), corners())


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda p: p),
        (2, np.fliplr),
        (3, lambda p: np.rot90(p, 2)),
        (4, np.flipud),
        (5, lambda p: p.transpose(1, 0, 2)),
        (6, lambda p: np.rot90(p, 1)),
        (7, lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
        (8, lambda p: np.rot90(p, -1)),
    ],
)
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int, undo):
    path = tmp_path / "photo.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undo(corners()))).save(path, exif=exif)
    np.testing.assert_array_equal(media.read_image(path, CAP), corners())
    assert media.measure_image(path, CAP) == media.Extent(width=6, height=4, frames=1, fps=0.0)


def test_transparency_lies_over_white(tmp_path: Path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, 1] = (200, 0, 0, 255)
    pixels[0, 2] = (0, 0, 0, 51)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    assert media.read_image(tmp_path / "alpha.png", CAP).tolist() == [[[255] * 3, [200, 0, 0], [204] * 3]]


def test_a_transparent_colour_of_a_table_is_white(tmp_path: Path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "table.png", transparency=0)
    assert media.read_image(tmp_path / "table.png", CAP).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert media.read_image(tmp_path / "deep.png", CAP)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_become_rgb(tmp_path: Path, mode: str):
    Image.new("RGB", (8, 8), (180, 180, 180)).convert(mode).save(tmp_path / "picture.jpg", quality=95)
    pixels = media.read_image(tmp_path / "picture.jpg", CAP)
    assert pixels.shape == (8, 8, 3)
    assert abs(pixels.astype(int) - 180).max() <= 3


def refusal(path: Path, max_pixels: int = CAP) -> media.Unusable:
    with pytest.raises(media.Unusable, match=path.name) as caught:
        media.read_image(path, max_pixels)
    return caught.value


def test_a_header_over_the_cap_is_refused_before_decoding(tmp_path: Path):
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert refusal(path).reason == "too_many_pixels"
    assert refusal(path, max_pixels=10**9).reason == "too_many_pixels"  # Pillow's own warning is an error too


def test_the_cap_itself_is_allowed(tmp_path: Path):
    Image.fromarray(corners()).save(tmp_path / "picture.png")
    assert media.read_image(tmp_path / "picture.png", 24).shape == (4, 6, 3)
    assert refusal(tmp_path / "picture.png", 23).reason == "too_many_pixels"


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_cut_off_file_is_refused(tmp_path: Path, kind: str, share: float):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, kind)
    path = tmp_path / "cut"
    path.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
    assert refusal(path).reason == "unreadable"


def test_other_files_are_refused_by_reason(tmp_path: Path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    first, second = Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), "white")
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    reasons = {name: refusal(tmp_path / name).reason for name in ("text.png", "empty.png", "absent.png", "moving.gif")}
    assert reasons == {
        "text.png": "not_an_image",
        "empty.png": "not_an_image",
        "absent.png": "absent",
        "moving.gif": "animated",
    }
    assert refusal(tmp_path / "float.tif").reason == "unreadable"


def test_resize_cuts_then_averages():
    pixels = np.zeros((2, 8, 12, 3), np.uint8)
    pixels[:, :, 2:10] = 100
    pixels[1] *= 2
    small = media.resize(pixels, (2, 0, 10, 8), 4, 4)
    assert small.shape == (2, 4, 4, 3)
    assert (small[0] == 100).all()  # nothing from outside the crop bleeds in
    assert (small[1] == 200).all()


def test_resize_does_not_alias():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    small = media.resize(stripes, (0, 0, 64, 64), 16, 16)
    assert abs(small[0, :, 2:-2].astype(int) - 127).max() <= 12  # grey, where point sampling gives black or white


def test_resize_to_the_same_size_changes_nothing():
    pixels = np.random.default_rng(0).integers(0, 255, (3, 9, 7, 3), np.uint8)
    np.testing.assert_array_equal(media.resize(pixels, (0, 0, 7, 9), 9, 7), pixels)
    np.testing.assert_array_equal(media.resize(pixels, (1, 2, 6, 8), 6, 5), pixels[:, 2:8, 1:6])
