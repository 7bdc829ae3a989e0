"""Every reason on both sides of its threshold; off at zero."""

from typing import Any

import pytest

from frostline import media, records
from frostline.media import Probe
from frostline.params.sources import FilterParams
from frostline.sources import filters
from frostline.sources.entries import Caption
from tests import neutral

PLAIN: dict[str, Any] = {"width": 64, "height": 48, "frames": 10, "fps": 10.0, "medium": "clip"}
SHOWN: dict[str, Any] = {"brightness": 200.0, "sharpness": 30.0, "motion": 5.0}


def settings(**changes: Any) -> FilterParams:
    return records.parse(FilterParams, neutral.FILTERS | changes, origin="test")


def probe(**changes: Any) -> Probe:
    facts = PLAIN | SHOWN | changes
    extent = media.Extent(**{name: facts[name] for name in ("width", "height", "frames", "fps")})
    moving = facts["medium"] == "clip" and facts["fps"]
    return Probe(
        medium=facts["medium"],
        content="c",
        extent=extent,
        pts=changes.get("pts", tuple(range(extent.frames)) if moving else ()),
        time_base=(1, int(extent.fps)) if moving else (0, 1),
        cuts=(),
        measures=media.Measures(**{name: facts[name] for name in SHOWN}, hashes=(0,)),
    )


@pytest.mark.parametrize(
    ("threshold", "value", "seen", "reason"),
    [
        ("minimum_side", 49, {}, "too_small"),
        ("minimum_side", 65, {"width": 300, "height": 64}, "too_small"),
        ("minimum_seconds", 1.01, {}, "too_short"),
        ("minimum_motion", 5.1, {}, "static"),
        ("minimum_brightness", 200.5, {}, "black"),
        ("minimum_sharpness", 30.5, {}, "blurred"),
    ],
)
def test_what_is_below_a_threshold_goes(threshold: str, value: float, seen: dict[str, Any], reason: str):
    why = filters.of_medium(probe(**seen), settings(**{threshold: value}))
    assert why is not None
    assert why[0] == reason
    assert threshold in why[1]
    assert f"{value:g}" in why[1]


@pytest.mark.parametrize(
    ("threshold", "value"),
    [
        ("minimum_side", 48),
        ("minimum_seconds", 1.0),
        ("minimum_motion", 5.0),
        ("minimum_brightness", 200.0),
        ("minimum_sharpness", 30.0),
    ],
)
def test_what_reaches_a_threshold_stays(threshold: str, value: float):
    assert filters.of_medium(probe(), settings(**{threshold: value})) is None


def test_nothing_goes_where_all_is_off():
    nothing = {"width": 1, "height": 1, "frames": 1, "brightness": 0.0, "sharpness": 0.0, "motion": 0.0}
    assert filters.of_medium(probe(**nothing), settings()) is None


def test_an_image_is_neither_short_nor_static():
    image = probe(medium="image", frames=1, fps=0.0, motion=0.0)
    assert filters.of_medium(image, settings(minimum_seconds=9.0, minimum_motion=9.0)) is None


def test_a_clip_lasts_as_long_as_it_is_seen():
    assert filters.seconds(probe()) == pytest.approx(1.0)
    slow = probe(frames=3, pts=(0, 10, 40))  # the last frame as long as the mean of the others
    assert filters.seconds(slow) == pytest.approx(6.0)
    assert filters.seconds(probe(fps=0.0)) is None
    assert filters.of_medium(probe(fps=0.0), settings(minimum_seconds=9.0)) is None


def test_captions_that_are_too_short_or_too_long_go_one_by_one():
    given = [Caption("  a cat ", 2.0), Caption("it", 1.0), Caption("a cat on a mat", 1.0), Caption(" ", 1.0)]
    kept, why = filters.of_captions(given, settings(caption_characters=[3, 10]))
    assert kept == (Caption("a cat", 2.0),)
    assert [reason for reason, _ in why] == ["caption_too_short", "caption_too_long"]
    assert "14 characters ('a cat on a mat')" in why[1][1]


@pytest.mark.parametrize("given", [[], [Caption("  \n", 1.0)]])
def test_blanks_are_no_caption(given: list[Caption]):
    kept, why = filters.of_captions(given, settings())
    assert kept == ()
    assert [reason for reason, _ in why] == ["no_caption"]
