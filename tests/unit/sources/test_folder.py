"""Folders of real media to rows and pixels; what cannot be used is left out with its reason."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from frostline import errors, media, sources
from tests.unit.sources.conftest import Describe, clip, folder_params, image


def test_an_image_becomes_a_row_and_its_pixels(describe: Describe):
    root = describe([{"file_name": "sub/a.png", "text": " a cat ", "label": 7}])
    pixels = image(root / "sub" / "a.png")
    settings = folder_params(root)
    (row,), rejected = sources.rows("cats", settings)
    assert rejected == []
    assert (row.source, row.item, row.locator, row.split) == ("cats", "sub/a.png", "sub/a.png", "train")
    assert (row.caption, row.attributes) == ("a cat", '{"label":7}')
    assert (row.bucket, row.start, row.crop) == ((1, 32, 32), 0, (4, 0, 44, 40))
    assert (row.source_width, row.source_height, row.source_frames, row.source_fps) == (48, 40, 1, 0.0)
    expected = media.resize(pixels, (4, 0, 44, 40), 32, 32)
    np.testing.assert_array_equal(sources.pixels(settings, row), expected)


@pytest.mark.parametrize("kind", ["videofolder", "frames"])
def test_a_clip_becomes_windows(describe: Describe, kind: str):
    root = describe([{"file_name": "clip", "text": "it moves"}])
    pixels = clip(root / "clip", 14) if kind == "videofolder" else np.zeros(0)
    if kind == "frames":
        pixels = np.stack([image(root / "clip" / f"{n}.png", seed=n)[0] for n in range(14)])
    settings = folder_params(root, kind, use_sliding_window=True, window_stride=4, buckets=[[5, 32, 32], [9, 40, 40]])
    rows, rejected = sources.rows("clips", settings)
    assert rejected == []
    assert [(row.start, row.bucket) for row in rows] == [(0, (9, 40, 40)), (4, (9, 40, 40))]
    assert {row.source_fps for row in rows} == {16.0 if kind == "videofolder" else 0.0}
    assert len({row.id for row in rows}) == 2
    np.testing.assert_array_equal(sources.pixels(settings, rows[1]), pixels[4:13, :, 4:44])
    (only,), _ = sources.rows("clips", folder_params(root, kind))
    assert (only.start, only.bucket, only.source_frames) == (0, (5, 32, 32), 14)


def test_every_reason_to_leave_out_is_seen(describe: Describe):
    names = ("good.png", "absent.png", "cut.png", "small.png", "text.png", "huge.png", "mute.png", "blank.png")
    captions = {"mute.png": None, "blank.png": "  "}
    root = describe([{"file_name": name, "text": captions.get(name, "a")} for name in names])
    for name in ("good.png", "cut.png", "mute.png", "blank.png", "extra.png"):
        image(root / name)
    (root / "cut.png").write_bytes((root / "good.png").read_bytes()[:500])
    image(root / "small.png", height=31)
    image(root / "huge.png", height=90, width=90)
    (root / "text.png").write_text("no picture")
    rows, rejected = sources.rows("s", folder_params(root, max_pixels=8000))
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
    assert not any(str(root) in entry.detail for entry in rejected)  # a manifest holds no absolute paths


def test_a_short_clip_and_an_image_among_clips_are_left_out(describe: Describe):
    root = describe([{"file_name": name, "text": "a"} for name in ("long.mp4", "short.mp4", "image.png")])
    clip(root / "long.mp4", 5)
    clip(root / "short.mp4", 4)
    image(root / "image.png")
    rows, rejected = sources.rows("s", folder_params(root, "videofolder"))
    assert [row.locator for row in rows] == ["long.mp4"]
    assert [(entry.locator, entry.reason) for entry in rejected] == [
        ("image.png", "not_a_clip"),
        ("short.mp4", "too_short"),
    ]


def test_rows_do_not_depend_on_where_the_folder_lies_or_how_lines_are_ordered(describe: Describe, tmp_path: Path):
    lines = [{"file_name": f"{n}.png", "text": str(n)} for n in range(6)]
    root = describe(lines)
    for n in range(6):
        image(root / f"{n}.png", seed=n)
    before = sources.rows("s", folder_params(root))
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    shutil.copytree(root, moved)
    assert sources.rows("s", folder_params(moved)) == before
    describe(lines[::-1])
    assert sources.rows("s", folder_params(root)) == before


def test_copies_and_cuts_of_one_item_share_a_split(describe: Describe):
    lines = [{"file_name": f"{kind}{n}.png", "text": "a"} for n in range(12) for kind in ("first", "copy")]
    lines += [{"file_name": f"cut{n}.png", "text": "a", "item": f"film {n % 6}"} for n in range(12)]
    root = describe(lines)
    for n in range(12):
        image(root / f"first{n}.png", seed=n)
        image(root / f"copy{n}.png", seed=n)
        image(root / f"cut{n}.png", seed=100 + n)
    rows, _ = sources.rows("s", folder_params(root, split={"seed": 0, "validation": 0.3, "test": 0.3}))
    split = {row.locator: row.split for row in rows}
    assert len(set(split.values())) == 3
    assert all(split[f"first{n}.png"] == split[f"copy{n}.png"] for n in range(12))
    assert all(split[f"cut{n}.png"] == split[f"cut{n + 6}.png"] for n in range(6))
    assert {row.item for row in rows if row.locator.startswith("cut")} == {f"film {n}" for n in range(6)}


def test_media_that_changed_since_are_not_passed_off(describe: Describe):
    root = describe([{"file_name": "a.png", "text": "a"}])
    image(root / "a.png")
    settings = folder_params(root)
    (row,), _ = sources.rows("s", settings)
    image(root / "a.png", height=50)
    with pytest.raises(media.Unusable, match=r"a.png: .*in the manifest 48 x 40; run prepare again"):
        sources.pixels(settings, row)


def test_too_many_left_out_are_refused_with_examples(describe: Describe):
    root = describe([{"file_name": f"{n}.png", "text": "a"} for n in range(4)])
    for n in range(3):
        image(root / f"{n}.png", seed=n)
    strict, lenient = folder_params(root, max_rejected=0.24), folder_params(root, max_rejected=0.25)
    rows, rejected = sources.rows("s", strict)
    sources.require_usable("s", lenient, rows, rejected)
    with pytest.raises(errors.Refused, match=r"1 of 4 item.*absent: 3.png: no such file.*raise sources.s.max_rejected"):
        sources.require_usable("s", strict, rows, rejected)


def test_a_source_without_rows_or_without_training_rows_is_refused(describe: Describe):
    root = describe([])
    with pytest.raises(errors.WrongUse, match="source 's' is empty"):
        sources.require_usable("s", folder_params(root), *sources.rows("s", folder_params(root)))
    describe([{"file_name": "a.png", "text": "a"}])
    image(root / "a.png")
    held_out = folder_params(root, split={"seed": 0, "validation": 0.5, "test": 0.49999})
    with pytest.raises(errors.WrongUse, match=r"none of the 1 item.*change sources.s.split"):
        sources.require_usable("s", held_out, *sources.rows("s", held_out))
