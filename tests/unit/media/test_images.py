"""Images as a viewer shows them, and what is refused; every file is a real one made here."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline import digests, media
from frostline.media import kinds
from tests.unit.media.looking import image, probe, refusal


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
    assert probe(path).medium == "image"
    np.testing.assert_array_equal(image(path), corners())


@pytest.mark.parametrize("kind", ["BMP", "PNG", "TIFF", "WEBP", "GIF"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, kind: str):
    path = tmp_path / "picture"
    Image.fromarray(corners()).save(path, kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(image(path), corners())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
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
def test_exif_orientation_is_undone(tmp_path: Path, kind: str, orientation: int, undo):
    path = tmp_path / "photo"
    exif = Image.Exif()
    exif[0x0112] = orientation
    large = corners().repeat(16, 0).repeat(16, 1)
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    stored = Image.fromarray(np.ascontiguousarray(undo(large)))
    stored.save(path, kind, exif=exif, **options.get(kind, {}))
    np.testing.assert_allclose(image(path).astype(int), large, atol=3 if kind == "JPEG" else 0)
    found, upright = probe(path), tmp_path / "upright.png"
    Image.fromarray(large).save(upright)
    assert found.extent == media.Extent(width=96, height=64, frames=1, fps=0.0)
    assert (found.measures.hashes[0] ^ probe(upright).measures.hashes[0]).bit_count() <= 2


def test_transparency_lies_over_white(tmp_path: Path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, 1] = (200, 0, 0, 255)
    pixels[0, 2] = (0, 0, 0, 51)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    assert image(tmp_path / "alpha.png").tolist() == [[[255] * 3, [200, 0, 0], [204] * 3]]


def test_a_transparent_colour_of_a_table_is_white(tmp_path: Path):
    table = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    table.putpalette([10, 20, 30, 40, 50, 60])
    table.save(tmp_path / "table.png", transparency=0)
    assert image(tmp_path / "table.png").tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert image(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_colours_of_sixteen_bits_keep_their_upper_eight(tmp_path: Path):
    values = np.array([[[0, 255, 256], [0x1234, 0xABCD, 0xFFFF]]], ">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + data)
    assert image(tmp_path / "deep.png").tolist() == [[[0, 0, 1], [0x12, 0xAB, 0xFF]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_of_either_format_is_scaled(tmp_path: Path, kind: str):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / "deep", kind)
    assert image(tmp_path / "deep")[0, :, 1].tolist() == [0, 1, 128, 255]


def test_a_transparent_level_of_deep_grey_is_white(tmp_path: Path):
    Image.fromarray(np.array([[0, 2570, 65535]], np.uint16)).save(tmp_path / "deep.png", transparency=2570)
    assert image(tmp_path / "deep.png")[0, :, 2].tolist() == [0, 255, 255]


def test_other_forms_of_transparency_lie_over_white(tmp_path: Path):
    Image.fromarray(np.array([[[100, 255], [0, 0], [0, 51]]], np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.array([[[9, 9, 9], [1, 2, 3]]], np.uint8)).save(tmp_path / "named.png", transparency=(1, 2, 3))
    table = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    table.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 200])
    table.save(tmp_path / "table.png", transparency=bytes([51, 255, 0]))
    assert image(tmp_path / "grey.png")[0, :, 0].tolist() == [100, 255, 204]
    assert image(tmp_path / "named.png").tolist() == [[[9, 9, 9], [255, 255, 255]]]
    assert image(tmp_path / "table.png").tolist() == [[[204, 204, 204], [200, 0, 0], [255, 255, 255]]]


def test_black_and_white_becomes_rgb(tmp_path: Path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert image(tmp_path / "bits.png").tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_what_moves_or_has_pages_is_no_image(tmp_path: Path, kind: str):
    first, second = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "white")
    first.save(tmp_path / "moving", kind, save_all=True, append_images=[second])
    assert refusal(tmp_path / "moving", "image").reason == "animated"


def test_a_gif_of_one_picture_is_an_image_and_of_more_a_clip(tmp_path: Path):
    first, second = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "white")
    first.save(tmp_path / "still.gif")
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    assert [probe(tmp_path / name).medium for name in ("still.gif", "moving.gif")] == ["image", "clip"]


def test_an_image_asked_for_as_a_clip_is_refused(tmp_path: Path):
    Image.fromarray(corners()).save(tmp_path / "picture.png")
    assert refusal(tmp_path / "picture.png", "clip").reason == "not_a_clip"


def test_brightness_alone_is_that_of_the_whole_picture(tmp_path: Path):
    """A JPEG is probed without its colours; what it shows must be the same."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(image(tmp_path / "a.jpg")).save(tmp_path / "b.png")
    quick, whole = probe(tmp_path / "a.jpg").measures, probe(tmp_path / "b.png").measures
    assert (quick.hashes[0] ^ whole.hashes[0]).bit_count() <= 2
    assert quick.brightness == pytest.approx(whole.brightness, abs=2)
    assert quick.sharpness == pytest.approx(whole.sharpness, rel=0.02)


def test_large_files_are_read_as_small_ones_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(
        tmp_path / "a.jpg", progressive=True
    )
    small = probe(tmp_path / "a.jpg")
    monkeypatch.setattr(kinds, "IN_MEMORY", 100)
    assert probe(tmp_path / "a.jpg") == small
    assert small.content == digests.of_file(tmp_path / "a.jpg")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_become_rgb(tmp_path: Path, mode: str):
    Image.new("RGB", (8, 8), (180, 180, 180)).convert(mode).save(tmp_path / "picture.jpg", quality=95)
    pixels = image(tmp_path / "picture.jpg")
    assert pixels.shape == (8, 8, 3)
    assert abs(pixels.astype(int) - 180).max() <= 3


def capped(max_pixels: int) -> media.Limits:
    return media.Limits(max_pixels=max_pixels, max_frames=1)


def test_a_header_over_the_cap_is_refused_before_decoding(tmp_path: Path):
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert refusal(path).reason == "too_many_pixels"
    assert refusal(path, limits=capped(10**9)).reason == "too_many_pixels"  # Pillow's own warning is an error too


def test_the_cap_itself_is_allowed(tmp_path: Path):
    Image.fromarray(corners()).save(tmp_path / "picture.png")
    assert probe(tmp_path / "picture.png", limits=capped(24)).extent.width == 6
    assert refusal(tmp_path / "picture.png", limits=capped(23)).reason == "too_many_pixels"


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
    reasons = {name: refusal(tmp_path / name, "image").reason for name in ("text.png", "empty.png", "moving.gif")}
    assert reasons == {
        "text.png": "not_an_image",
        "empty.png": "not_an_image",
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
