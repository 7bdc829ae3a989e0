"""What Frostline draws itself, as sources: the digits and the world."""

import collections
import json
from pathlib import Path

import numpy as np
import pytest

from frostline import digests, digits, manifest, records, world
from frostline.manifest import Row
from frostline.params.sources import DigitsParams, WorldParams
from frostline.sources import preparing, reading

VALUES = {
    "kind": "digits",
    "path": "frostline/digits.py",
    "size": 16,
    "draws": [{"frames": 1, "per_scan": 2}, {"frames": 5, "per_scan": 1}],
}


@pytest.fixture(scope="module")
def settings() -> DigitsParams:
    return records.parse(DigitsParams, VALUES, origin="test")


@pytest.fixture(scope="module")
def rows(settings: DigitsParams) -> list[Row]:
    found, rejected = preparing.rows("digits", settings)
    assert rejected == []
    return list(found)


def test_every_scan_is_drawn_as_often_as_asked(rows: list[Row]):
    counts = collections.Counter(row.bucket for row in rows)
    assert counts == {(1, 16, 16): 2 * 1797, (5, 16, 16): 1797}
    assert len({row.id for row in rows}) == len({row.content for row in rows}) == 3 * 1797


def test_ids_of_the_digits_stay_what_they_are(rows: list[Row]):
    """Latents made before are found again: an id is of what is drawn, and of nothing else."""
    assert (rows[0].id, rows[-1].id) == (
        "66db4dd62bdf5313a98147b94cc40504",
        "a0c6406d49d7fc16e0bc67823e4e9a00",
    )


def test_rows_are_in_the_split_of_their_scan(rows: list[Row]):
    assert {row.item: row.split for row in rows} == {f"scan-{scan:04d}": digits.split(scan) for scan in range(1797)}


def test_captions_say_what_is_drawn(rows: list[Row]):
    for row in rows[:300]:
        drawn = json.loads(row.attributes)
        assert row.captions == (digits.caption(drawn["label"], drawn["motion"]),)
        assert (drawn["motion"] is None) == (row.frames == 1)
        assert drawn["label"] == digits.labels()[int(row.item.removeprefix("scan-"))]


def test_no_motion_goes_with_a_digit(rows: list[Row]):
    drawn = [json.loads(row.attributes) for row in rows if row.frames > 1]
    counts = collections.Counter((entry["label"], entry["motion"]) for entry in drawn)
    assert len(counts) == 40
    assert min(counts.values()) > 20  # 45 on average


def test_pixels_are_what_was_digested(settings: DigitsParams, rows: list[Row]):
    for row in rows[:6]:
        pixels = reading.pixels(settings, row)
        assert pixels.shape == (row.frames, 16, 16, 3)
        assert pixels.dtype == np.uint8
        assert digests.of_bytes(pixels.tobytes()) == row.content


# ----------------------------------------------------------------------------------------------------------- the world

SPLIT = {"seed": 7, "validation": 0.1, "test": 0.1}
WORLD = {
    "kind": "world",
    "path": "frostline/world",
    "size": 64,
    "first": 1000,
    "draws": [{"frames": 1, "scenes": 200}, {"frames": 5, "scenes": 150}],
    "split": SPLIT,
}


def of_world(**changes: object) -> WorldParams:
    return records.parse(WorldParams, WORLD | changes, origin="test")


def scenes_of(settings: WorldParams) -> list[Row]:
    found, rejected = preparing.rows("world", settings)
    assert rejected == []
    return list(found)


@pytest.fixture(scope="module")
def scenes() -> list[Row]:
    return scenes_of(of_world())


def number(row: Row) -> int:
    return int(row.item.removeprefix("scene-"))


def test_every_scene_is_drawn_at_every_length(scenes: list[Row]):
    assert [(number(row), *row.bucket) for row in scenes] == [
        *((scene, 1, 64, 64) for scene in range(1000, 1200)),
        *((scene, 5, 64, 64) for scene in range(1000, 1150)),
    ]
    assert len({row.id for row in scenes}) == len({row.locator for row in scenes}) == 350


def test_held_out_combinations_are_for_the_test_alone(scenes: list[Row]):
    held_out = {scene for scene in range(1000, 1200) if world.held_out(world.scene(scene))}
    assert 0.04 * 200 < len(held_out) < 0.18 * 200
    for row in scenes:
        assert json.loads(row.attributes)["held_out"] == (number(row) in held_out)
        assert row.split == "test" or number(row) not in held_out


def test_all_other_scenes_are_dealt(scenes: list[Row]):
    counts = collections.Counter(row.split for row in scenes if not json.loads(row.attributes)["held_out"])
    shares = {split: counts[split] / counts.total() for split in counts}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.06)
    dealt_anew = scenes_of(of_world(split=SPLIT | {"seed": 8}, draws=[{"frames": 1, "scenes": 60}]))
    assert [row.split for row in dealt_anew] != [row.split for row in scenes[:60]]


def test_an_image_and_a_clip_of_one_scene_share_a_split(scenes: list[Row]):
    splits = collections.defaultdict(set)
    for row in scenes:
        splits[row.item].add(row.split)
    assert {len(found) for found in splits.values()} == {1}


def test_rows_say_what_is_drawn(scenes: list[Row]):
    for row in scenes[::7]:
        scene, clip = world.scene(number(row)), row.frames > 1
        assert row.captions == world.captions(scene, clip=clip)
        assert row.weights == (1.0, 1.0, 1.0)
        assert json.loads(row.attributes) == world.attributes(scene, clip=clip)


def test_pixels_of_the_world_are_what_was_digested(scenes: list[Row]):
    for row in (scenes[0], scenes[-1]):
        pixels = reading.pixels(of_world(), row)
        assert (pixels == world.render(world.scene(number(row)), row.frames, 64)).all()
        assert digests.of_bytes(pixels.tobytes()) == row.content


def test_more_scenes_leave_the_rows_that_were(scenes: list[Row]):
    fewer = scenes_of(of_world(first=1100, draws=[{"frames": 1, "scenes": 20}, {"frames": 5, "scenes": 10}]))
    assert {row.id: row for row in fewer}.items() <= {row.id: row for row in scenes}.items()


def test_other_sizes_are_other_rows():
    one = {"frames": 1, "scenes": 1}
    small, large = (scenes_of(of_world(size=size, draws=[one]))[0] for size in (64, 96))
    assert small.id != large.id
    assert large.bucket == (1, 96, 96)
    assert large.crop == (0, 0, 96, 96)


def test_a_manifest_keeps_the_world(scenes: list[Row], tmp_path: Path):
    summary = manifest.write(tmp_path / "world", scenes, [])
    preparing.require_usable("world", of_world(), summary, [])
    assert (summary["items"], summary["rows"]) == (200, 350)
    assert manifest.read(tmp_path / "world") == scenes
