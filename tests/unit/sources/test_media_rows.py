"""Media to rows and pixels; what cannot be used is left out with its reason."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline import errors, manifest, media
from frostline.manifest import Rejected, Row
from frostline.params.sources import AnyMediaParams
from frostline.sources import preparing, reading
from tests.unit.sources.conftest import Describe, clip, folder_params, image, noise, read, sidecar_params

DEALT = {"seed": 0, "validation": 0.3, "test": 0.3}


def require(settings: AnyMediaParams, found: tuple[list[Row], list[Rejected]]) -> None:
    preparing.require_usable("s", settings, manifest.summarise(*found), found[1])


def described(folder: Path, name: str, caption: str = "a") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).with_suffix(".txt").write_text(caption)
    return folder / name


def test_an_image_becomes_a_row_and_its_pixels(describe: Describe, tmp_path: Path):
    root = describe([{"file_name": "sub/a.png", "text": " a cat ", "label": 7}])
    pixels = image(root / "sub" / "a.png")
    settings = folder_params(root)
    (row,), rejected = read(settings, tmp_path)
    assert rejected == []
    assert (row.source, row.item, row.locator, row.split) == ("s", "sub/a.png", "sub/a.png", "train")
    assert (row.captions, row.weights, row.attributes) == (("a cat",), (1.0,), '{"label":7}')
    assert (row.bucket, row.start, row.crop, row.flip) == ((1, 32, 32), 0, (4, 0, 44, 40), False)
    assert (row.source_width, row.source_height, row.source_frames, row.source_fps) == (48, 40, 1, 0.0)
    assert (row.medium, row.shown, row.pts) == ("image", (), ())
    expected = media.resize(pixels, (4, 0, 44, 40), 32, 32)
    np.testing.assert_array_equal(reading.pixels(settings, row), expected)


def test_ids_of_images_stay_what_they_are(describe: Describe, tmp_path: Path):
    """The id of a plain row is of its source, name, content, window and crop: nothing that was added since."""
    root = describe([{"file_name": "a.png", "text": "a"}])
    image(root / "a.png")
    (row,), _ = read(folder_params(root), tmp_path)
    assert row.id == manifest.identity("s", "a.png", row.content, 0, (1, 32, 32), (4, 0, 44, 40))


@pytest.mark.parametrize("kind", ["videofolder", "frames"])
def test_a_clip_becomes_windows(describe: Describe, kind: str, tmp_path: Path):
    root = describe([{"file_name": "clip", "text": "it moves"}])
    pixels = clip(root / "clip", 14) if kind == "videofolder" else np.zeros(0)
    if kind == "frames":
        pixels = np.stack([image(root / "clip" / f"{n}.png", seed=n)[0] for n in range(14)])
    sliding = {"use_sliding_window": True, "window_stride": 4}
    settings = folder_params(root, kind, clips=sliding, buckets=[[5, 32, 32], [9, 40, 40]])
    rows, rejected = read(settings, tmp_path)
    assert rejected == []
    assert [(row.start, row.bucket) for row in rows] == [(0, (9, 40, 40)), (4, (9, 40, 40))]
    assert rows[1].shown == tuple(range(4, 13))
    assert {row.source_fps for row in rows} == {16.0 if kind == "videofolder" else 0.0}
    assert len({row.id for row in rows}) == 2
    np.testing.assert_array_equal(reading.pixels(settings, rows[1]), pixels[4:13, :, 4:44])
    (only,), _ = read(folder_params(root, kind), tmp_path)
    assert (only.start, only.bucket, only.source_frames) == (0, (5, 32, 32), 14)


def test_a_resampled_clip_shows_what_is_on_screen(tmp_path: Path):
    pixels = clip(described(tmp_path / "media", "a.mp4"), 20, fps=30)
    settings = sidecar_params(tmp_path / "media", clips={"fps": 16.0}, buckets=[[9, 40, 48]])
    (row,), _ = read(settings, tmp_path)
    assert row.shown == tuple(k * 30 // 16 for k in range(9))  # 0 1 3 5 7 9 11 13 15
    assert (row.pts[1] - row.pts[0]) * row.time_base[0] / row.time_base[1] == pytest.approx(1 / 30)
    np.testing.assert_array_equal(reading.pixels(settings, row), pixels[list(row.shown)])


def test_a_clip_shown_faster_than_it_has_frames_repeats_them_and_no_window_twice(tmp_path: Path):
    clip(described(tmp_path / "media", "a.mp4"), 3, fps=4)
    settings = sidecar_params(tmp_path / "media", clips={"fps": 32.0, "use_sliding_window": True})
    rows, _ = read(settings, tmp_path)
    assert [row.shown for row in rows] == [
        (0, 0, 0, 0, 0),
        (0, 0, 0, 0, 1),
        (0, 0, 0, 1, 1),
        (0, 0, 1, 1, 1),
        (0, 1, 1, 1, 1),
        (1, 1, 1, 1, 1),
        (1, 1, 1, 1, 2),
    ]
    assert len({row.id for row in rows}) == 7


def test_a_clip_is_cut_at_its_scenes(tmp_path: Path):
    scenes = [np.full((frames, 64, 64, 3), level, np.uint8) for frames, level in ((8, 0), (3, 128), (8, 255))]
    path = described(tmp_path / "media", "a.mp4")
    media.write_lossless_mp4(path, np.concatenate(scenes), 16)
    settings = sidecar_params(tmp_path / "media", clips={"scene_cuts": {"threshold": 27.0, "minimum_frames": 2}})
    rows, rejected = read(settings, tmp_path)
    assert [row.shown for row in rows] == [(0, 1, 2, 3, 4), (11, 12, 13, 14, 15)]
    assert [(entry.locator, entry.reason) for entry in rejected] == [("a.mp4", "too_short")]
    assert "scene 2 of 3, from frame 8: 3 frame(s)" in rejected[0].detail
    require(settings, (rows, rejected))  # the clip itself is not lost


def test_images_and_clips_of_one_folder_go_to_their_own_buckets(tmp_path: Path):
    image(described(tmp_path / "media", "a.png"))
    clip(described(tmp_path / "media", "b.mp4"), 5)
    rows, rejected = read(sidecar_params(tmp_path / "media"), tmp_path)
    assert [row.bucket for row in rows] == [(1, 32, 32), (5, 32, 32)]
    assert rejected == []
    single = sidecar_params(tmp_path / "media", buckets=[[1, 32, 32]])
    rows, rejected = read(single, tmp_path)
    assert [(row.locator, row.bucket, row.shown) for row in rows] == [
        ("a.png", (1, 32, 32), ()),
        ("b.mp4", (1, 32, 32), (0,)),
    ]
    assert reading.pixels(single, rows[1]).shape == (1, 32, 32, 3)
    rows, rejected = read(sidecar_params(tmp_path / "media", buckets=[[5, 32, 32]]), tmp_path)
    assert [(entry.locator, entry.reason) for entry in rejected] == [("a.png", "no_bucket")]


def test_a_mirror_image_is_a_row_of_its_own_in_the_same_split(tmp_path: Path):
    for n in range(12):
        image(described(tmp_path / "media", f"{n}.png"), seed=n)
    settings = sidecar_params(tmp_path / "media", crop={"flip": True}, split=DEALT)
    rows, _ = read(settings, tmp_path)
    plain, mirrored = rows[::2], rows[1::2]
    assert not any(row.flip for row in plain)
    assert all(row.flip for row in mirrored)
    assert [row.split for row in plain] == [row.split for row in mirrored]
    assert len({row.split for row in plain}) == 3
    assert len({row.id for row in rows}) == 24
    here = reading.pixels(settings, plain[0])
    np.testing.assert_array_equal(reading.pixels(settings, mirrored[0]), here[:, :, ::-1])


def test_every_reason_to_leave_out_is_seen(describe: Describe, tmp_path: Path):
    names = ("good.png", "absent.png", "cut.png", "small.png", "text.png", "huge.png", "mute.png", "blank.png")
    captions = {"mute.png": None, "blank.png": "  "}
    root = describe([{"file_name": name, "text": captions.get(name, "a")} for name in names])
    for name in ("good.png", "cut.png", "mute.png", "blank.png", "extra.png"):
        image(root / name)
    (root / "cut.png").write_bytes((root / "good.png").read_bytes()[:500])
    image(root / "small.png", height=31)
    image(root / "huge.png", height=90, width=90)
    (root / "text.png").write_text("no picture")
    rows, rejected = read(folder_params(root, max_pixels=8000), tmp_path)
    assert [row.locator for row in rows] == ["good.png"]
    assert {entry.locator: entry.reason for entry in rejected} == {
        "absent.png": "absent",
        "blank.png": "no_caption",
        "cut.png": "unreadable",
        "extra.png": "no_caption",
        "huge.png": "too_many_pixels",
        "mute.png": "no_caption",
        "small.png": "too_small",
        "text.png": "not_an_image",
    }
    assert [entry.locator for entry in rejected] == sorted(entry.locator for entry in rejected)
    assert all(entry.locator in entry.detail for entry in rejected)
    assert not any(str(root) in entry.detail for entry in rejected)  # a manifest holds no absolute paths


def test_a_short_clip_and_an_image_among_clips_are_left_out(describe: Describe, tmp_path: Path):
    root = describe([{"file_name": name, "text": "a"} for name in ("long.mp4", "short.mp4", "image.png")])
    clip(root / "long.mp4", 5)
    clip(root / "short.mp4", 4)
    image(root / "image.png")
    rows, rejected = read(folder_params(root, "videofolder"), tmp_path)
    assert [row.locator for row in rows] == ["long.mp4"]
    assert [(entry.locator, entry.reason) for entry in rejected] == [
        ("image.png", "not_a_clip"),
        ("short.mp4", "too_short"),
    ]


def test_rows_do_not_depend_on_place_order_processes_or_what_is_known(describe: Describe, tmp_path: Path):
    lines = [{"file_name": f"{n}.png", "text": str(n)} for n in range(6)]
    root = describe(lines)
    for n in range(6):
        image(root / f"{n}.png", seed=n)
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    before = read(folder_params(root), tmp_path)
    assert read(folder_params(root), tmp_path) == before
    assert read(folder_params(root), tmp_path, verify=True) == before
    assert read(folder_params(root), tmp_path / "other", processes=2) == before
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    shutil.copytree(root, moved)
    assert read(folder_params(moved), tmp_path) == before
    describe(lines[::-1])
    assert read(folder_params(root), tmp_path) == before


def test_copies_and_cuts_of_one_item_share_a_split(describe: Describe, tmp_path: Path):
    lines = [{"file_name": f"{kind}{n}.png", "text": "a"} for n in range(12) for kind in ("first", "copy")]
    lines += [{"file_name": f"cut{n}.png", "text": "a", "item": f"film {n % 6}"} for n in range(12)]
    root = describe(lines)
    for n in range(12):
        image(root / f"first{n}.png", seed=n)
        image(root / f"copy{n}.png", seed=n)
        image(root / f"cut{n}.png", seed=100 + n)
    rows, _ = read(folder_params(root, split=DEALT), tmp_path)
    split = {row.locator: row.split for row in rows}
    assert len(set(split.values())) == 3
    assert all(split[f"first{n}.png"] == split[f"copy{n}.png"] for n in range(12))
    assert all(split[f"cut{n}.png"] == split[f"cut{n + 6}.png"] for n in range(6))
    assert {row.item for row in rows if row.locator.startswith("cut")} == {f"film {n}" for n in range(6)}


def _likenesses(folder: Path) -> None:
    """Twelve scenes, each as a plain, a smaller and a noisy image, with other bytes each."""
    coarse = np.random.default_rng(0).integers(0, 255, (12, 6, 8, 3), np.uint8)
    for n in range(12):
        large = media.resize(coarse[n][None], (0, 0, 8, 6), 48, 64)[0]
        media.write_png(described(folder, f"{n}-large.png"), large)
        media.write_png(described(folder, f"{n}-small.png"), media.resize(large[None], (0, 0, 64, 48), 36, 48)[0])
        media.write_png(
            described(folder, f"{n}-noisy.png"), np.clip(large + noise(1, 48, 64, n)[0] % 3, 0, 255).astype("u1")
        )


def test_near_duplicates_share_a_split_and_the_largest_of_them_is_kept(tmp_path: Path):
    _likenesses(tmp_path / "media")
    near: dict[str, Any] = {"duplicate_distance": 12, "keep_duplicates": True}
    rows, rejected = read(sidecar_params(tmp_path / "media", filters=near, split=DEALT), tmp_path)
    assert (len(rows), rejected) == (36, [])
    split = {row.locator: row.split for row in rows}
    assert len(set(split.values())) == 3
    assert all(len({split[f"{n}-{kind}.png"] for kind in ("large", "small", "noisy")}) == 1 for n in range(12))
    apart, _ = read(sidecar_params(tmp_path / "media", filters=near | {"duplicate_distance": 0}, split=DEALT), tmp_path)
    assert {row.locator: row.split for row in apart} != split
    lone = sidecar_params(tmp_path / "media", filters=near | {"keep_duplicates": False}, split=DEALT)
    kept, rejected = read(lone, tmp_path)
    assert {row.locator: row.split for row in kept} == {f"{n}-large.png": split[f"{n}-large.png"] for n in range(12)}
    assert {entry.reason for entry in rejected} == {"near_duplicate"}
    assert [entry.detail for entry in rejected if entry.locator.startswith("7-")] == [
        "7-noisy.png: looks like 7-large.png, which is kept",
        "7-small.png: looks like 7-large.png, which is kept",
    ]


def test_several_captions_stay_with_their_weights_and_lose_only_the_bad_ones(describe: Describe, tmp_path: Path):
    root = tmp_path / "media"
    image(described(root, "a.png", "a cat\nit\na cat that sits on a mat"))
    image(described(root, "b.png", "x\ny"), seed=1)
    settings = sidecar_params(root, lines="a_caption_each", filters={"caption_characters": [3, 10]}, max_rejected=0.5)
    rows, rejected = read(settings, tmp_path)
    assert [(row.locator, row.captions, row.weights) for row in rows] == [("a.png", ("a cat",), (1.0,))]
    assert [(entry.locator, entry.reason) for entry in rejected] == [
        ("a.png", "caption_too_long"),
        ("a.png", "caption_too_short"),
        ("b.png", "caption_too_short"),
        ("b.png", "caption_too_short"),
    ]
    require(settings, (rows, rejected))  # one of two media, not four of five


def test_a_captioner_says_what_nobody_said(tmp_path: Path):
    root = tmp_path / "media"
    image(described(root, "a.png", "a cat"))
    image(root / "b.png", seed=1)
    image(root / "c.png", seed=2)
    program = tmp_path / "captioner.py"
    program.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    caption = 'noise' if asked['id'] == 'b.png' else ''\n"
        "    print(json.dumps({'id': asked['id'], 'caption': caption}), flush=True)\n"
    )
    settings = sidecar_params(root, captioner={"command": [sys.executable, str(program)]})
    rows, rejected = read(settings, tmp_path)
    assert [(row.locator, row.captions) for row in rows] == [("a.png", ("a cat",)), ("b.png", ("noise",))]
    assert [(entry.locator, entry.reason) for entry in rejected] == [("c.png", "no_caption")]


def test_media_that_changed_since_are_not_passed_off(describe: Describe, tmp_path: Path):
    root = describe([{"file_name": "a.png", "text": "a"}])
    image(root / "a.png")
    settings = folder_params(root)
    (row,), _ = read(settings, tmp_path)
    image(root / "a.png", seed=1)  # as many pixels, other ones
    with pytest.raises(media.Unusable, match=r"a.png: its bytes are not those of the manifest; run prepare") as caught:
        reading.pixels(settings, row)
    assert caught.value.reason == "changed"


def test_of_near_duplicates_one_that_is_described_stays(tmp_path: Path):
    _likenesses(tmp_path / "media")
    (tmp_path / "media" / "3-large.txt").unlink()
    program = [sys.executable, "-c", "import sys; sys.exit('nobody should ask')"]
    near: dict[str, Any] = {"duplicate_distance": 12, "keep_duplicates": False}
    rows, rejected = read(sidecar_params(tmp_path / "media", filters=near, captioner={"command": program}), tmp_path)
    assert [row.locator for row in rows if row.locator.startswith("3-")] == ["3-noisy.png"]
    assert {entry.reason for entry in rejected} == {"near_duplicate"}


def test_too_many_left_out_are_refused_with_examples(describe: Describe, tmp_path: Path):
    root = describe([{"file_name": f"{n}.png", "text": "a"} for n in range(4)])
    for n in range(3):
        image(root / f"{n}.png", seed=n)
    strict, lenient = folder_params(root, max_rejected=0.24), folder_params(root, max_rejected=0.25)
    found = read(strict, tmp_path)
    require(lenient, found)
    with pytest.raises(errors.Refused, match=r"1 of 4 item.*absent: 3.png: no such file.*raise sources.s.max_rejected"):
        require(strict, found)


def test_a_source_without_rows_or_without_training_rows_is_refused(describe: Describe, tmp_path: Path):
    root = describe([])
    with pytest.raises(errors.WrongUse, match="source 's' is empty"):
        require(folder_params(root), read(folder_params(root), tmp_path))
    describe([{"file_name": "a.png", "text": "a"}])
    image(root / "a.png")
    held_out = folder_params(root, split={"seed": 0, "validation": 0.5, "test": 0.49999})
    with pytest.raises(errors.WrongUse, match=r"none of the 1 item.*change sources.s.split"):
        require(held_out, read(held_out, tmp_path))
