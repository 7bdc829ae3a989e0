"""The embedded digits as a source."""

import collections
import json

import numpy as np
import pytest

from frostline import digits, params, records, sources
from frostline.manifest import Row

VALUES = {
    "kind": "digits",
    "path": "frostline/digits.py",
    "size": 16,
    "draws": [{"frames": 1, "per_scan": 2}, {"frames": 5, "per_scan": 1}],
}


@pytest.fixture(scope="module")
def settings() -> params.DigitsParams:
    return records.parse(params.DigitsParams, VALUES, origin="test")


@pytest.fixture(scope="module")
def rows(settings: params.DigitsParams) -> list[Row]:
    found, rejected = sources.rows("digits", settings)
    assert rejected == []
    sources.require_usable("digits", settings, found, rejected)
    return found


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


def test_pixels_are_what_was_digested(settings: params.DigitsParams, rows: list[Row]):
    from frostline import digests

    for row in rows[:6]:
        pixels = sources.pixels(settings, row)
        assert pixels.shape == (row.frames, 16, 16, 3)
        assert pixels.dtype == np.uint8
        assert digests.of_bytes(pixels.tobytes()) == row.content
