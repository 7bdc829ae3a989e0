"""What pictures look like in numbers: against their definitions, and against ImageHash where it is installed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import fft

from frostline import media
from frostline.media import images, measures
from frostline.media.measures import Watch
from tests.unit.media.looking import probe


def scene(seed: int, side: int = 256) -> np.ndarray:
    """Blobs of colour, smooth at several scales: (side, side, 3)."""
    random, total = np.random.default_rng(seed), np.zeros((side, side, 3))
    for cells in (4, 8, 16, 32):
        noise = Image.fromarray(random.integers(0, 255, (cells, cells, 3), np.uint8))
        total += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC)) / cells
    return np.clip(total * 255 / total.max(), 0, 255).astype(np.uint8)


def of(tmp_path: Path, pixels: np.ndarray) -> measures.Measures:
    media.write_png(tmp_path / "a.png", pixels)
    return probe(tmp_path / "a.png").measures


def of_clip(tmp_path: Path, pixels: np.ndarray, fps: float) -> measures.Measures:
    media.write_lossless_mp4(tmp_path / "a.mp4", pixels, fps)
    return probe(tmp_path / "a.mp4").measures


def differing(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_the_hash_is_that_of_its_definition(seed: int):
    thumbnail = np.random.default_rng(seed).integers(0, 255, (32, 32), np.uint8)
    low = np.asarray(fft.dct(fft.dct(thumbnail.astype(float), axis=0), axis=1))[:8, :8]
    bits = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
    assert measures.perceptual_hash(thumbnail) == int(bits, 2)


@pytest.mark.parametrize("seed", range(8))
def test_the_hash_is_near_that_of_imagehash(seed: int, tmp_path: Path):
    imagehash = pytest.importorskip("imagehash")
    picture = Image.fromarray(scene(seed, 200 + 37 * seed))
    expected = int(str(imagehash.phash(picture)), 16)
    assert differing(of(tmp_path, np.asarray(picture)).hashes[0], expected) <= 4
    small = Image.fromarray(images.thumbnail(picture.convert("L"), 32))
    assert measures.perceptual_hash(np.asarray(small)) == int(str(imagehash.phash(small)), 16)


def test_copies_are_near_and_others_far(tmp_path: Path):
    whole = [of(tmp_path, scene(seed)).hashes[0] for seed in range(8)]
    for seed, own in enumerate(whole):
        picture = Image.fromarray(scene(seed))
        picture.resize((131, 97)).save(tmp_path / "copy.jpg", quality=40)
        assert differing(probe(tmp_path / "copy.jpg").measures.hashes[0], own) <= 8
        assert all(differing(own, other) >= 16 for other in whole[:seed])


def test_pictures_of_one_level_have_one_hash(tmp_path: Path):
    flat = {of(tmp_path, np.full((64, 48, 3), level, np.uint8)).hashes for level in (1, 100, 255)}
    assert flat == {(1 << 63,)}  # nothing but the mean


def test_brightness_is_that_of_the_brightest_part(tmp_path: Path):
    pixels = np.zeros((320, 320, 3), np.uint8)
    assert of(tmp_path, pixels).brightness == 0
    pixels[7, 7] = 255  # one pixel of the hundred of a part
    assert of(tmp_path, pixels).brightness < 10
    pixels[40:80, 40:80] = 180
    assert of(tmp_path, pixels).brightness == pytest.approx(180, abs=12)


def test_sharpness_is_the_deviation_of_the_laplacian(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 255, (34, 60, 3), np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    assert of(tmp_path, pixels).sharpness == np.float32(laplacian.std())
    assert of(tmp_path, pixels[:2]).sharpness == 0


def test_blur_lowers_sharpness_and_rows_stand_for_the_whole(tmp_path: Path):
    sharp = np.random.default_rng(0).integers(0, 255, (500, 400), np.uint8)
    soft = np.asarray(Image.fromarray(sharp).resize((50, 60)).resize((400, 500)))
    found = [of(tmp_path, np.stack([grey] * 3, -1)).sharpness for grey in (sharp, soft)]
    assert found[1] < found[0] / 8
    assert found[0] == pytest.approx(np.sqrt(20) * sharp.std(), rel=0.05)  # of noise: 4^2 + 4 x 1^2 variances


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_sharpness_is_that_of_a_size_all_pictures_have(tmp_path: Path, kind: str):
    picture, options = Image.fromarray(scene(3, 280)), {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found: list[float] = []
    for side in (280, 560, 840):
        picture.resize((side, side), Image.Resampling.BOX).save(tmp_path / "a", kind, **options)
        found.append(probe(tmp_path / "a").measures.sharpness)
    assert found == pytest.approx([found[0]] * 3, rel=0.3)  # at full resolution it would be a ninth
    assert [measures.shrinking(*size) for size in ((511, 900), (512, 512), (4000, 1023), (9000, 9000))] == [1, 2, 2, 8]


def test_motion_does_not_depend_on_the_rate(tmp_path: Path):
    ground = scene(1, 512)
    path = [ground[:128, 2 * k : 2 * k + 128] for k in range(96)]  # at 48 frames a second
    found = {fps: of_clip(tmp_path, np.stack(path[:: 48 // fps]), fps).motion for fps in (48, 24, 8)}
    assert found[24] == pytest.approx(found[48], rel=0.05)
    assert found[8] == pytest.approx(found[48], rel=0.05)
    assert found[8] > 1
    assert of_clip(tmp_path, np.stack([path[0]] * 8), 12).motion == 0


def test_the_last_frame_is_looked_at(tmp_path: Path):
    frames = np.zeros((5, 32, 32, 3), np.uint8)
    frames[4] = 255
    found = of_clip(tmp_path, frames, 60)  # all five within an eighth of a second
    assert (found.motion, found.brightness) == (255, 255)


def test_clips_are_hashed_in_three_places(tmp_path: Path):
    frames = np.stack([scene(number // 2, 64) for number in range(6)])
    found = of_clip(tmp_path, frames, 8).hashes
    pictures = [of(tmp_path, frames[place]).hashes[0] for place in (1, 3, 5)]
    assert max(differing(one, other) for one, other in zip(found, pictures, strict=True)) <= 4


def test_thumbnails_of_a_long_clip_are_thinned_out():
    watch, random = Watch(), np.random.default_rng(0)
    thumbnails = random.integers(0, 255, (5000, 32, 32), np.uint8)
    watch.detail(thumbnails[0])
    for number, thumbnail in enumerate(thumbnails):
        watch.look(number, thumbnail)
        assert len(watch._kept) < 2 * measures.KEPT
    step = 8  # 5000 looks, fewer than 1024 kept
    expected = [measures.perceptual_hash(thumbnails[place // step * step]) for place in (833, 2500, 4166)]
    assert list(watch.measures(5000).hashes) == expected


def test_measures_are_exact_in_32_bits(tmp_path: Path):
    found = of_clip(tmp_path, np.stack([scene(seed, 64) for seed in range(7)]), 12)
    for value in (found.brightness, found.sharpness, found.motion):
        assert float(np.float32(value)) == value > 0
