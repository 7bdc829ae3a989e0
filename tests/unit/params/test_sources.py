"""Params of sources: what cannot be meant is refused, by the key as params.yaml has it."""

from typing import Any

import pytest

from frostline import errors, records
from frostline.params.sources import DigitsParams, FolderParams, SidecarParams, SourceParams
from frostline.params.values import Name
from tests import neutral

DIGITS = {"kind": "digits", "path": "p", "size": 32, "draws": [{"frames": 1, "per_scan": 1}]}
FOLDER = neutral.section("p", "videofolder")
SIDECAR = neutral.section("p", "sidecar")


class Section(records.Record):
    sources: dict[Name, SourceParams]


def read(source: dict[str, Any]) -> SourceParams:
    return records.parse(Section, {"sources": {"digits": source}}, origin="params.yaml").sources["digits"]


def of(section: str, **changes: Any) -> dict[str, Any]:
    """FOLDER with other keys in one of its sections."""
    return neutral.section("p", "videofolder", **{section: changes})


def test_each_kind_has_its_own_keys():
    assert isinstance(read(DIGITS), DigitsParams)
    for kind in ("videofolder", "frames"):
        assert isinstance(read(FOLDER | {"kind": kind}), FolderParams)
    assert isinstance(read(FOLDER | {"kind": "imagefolder", "buckets": [[1, 32, 32]]}), FolderParams)
    assert isinstance(read(SIDECAR), SidecarParams)
    grid = {"area": 4096, "step": 16, "aspects": [[1, 1], [16, 9]], "frames": [1, 5]}
    assert isinstance(read(SIDECAR | {"buckets": grid}), SidecarParams)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (DIGITS | {"window_stride": 8}, "unknown key 'sources.digits.window_stride' (value 8)"),
        ({"kind": "digits"}, "missing key 'sources.digits.size'"),
        (DIGITS | {"kind": "webdata"}, "key 'sources.digits': input tag 'webdata'"),
        (DIGITS | {"draws": []}, "key 'sources.digits': draws name the lengths []"),
        (DIGITS | {"draws": DIGITS["draws"] * 2}, "key 'sources.digits': draws name the lengths [1, 1]"),
        (DIGITS | {"draws": [{"frames": 4, "per_scan": 1}]}, "key 'sources.digits.draws.0.frames' has the value 4"),
        (FOLDER | {"buckets": [[5, 32, 32], [16, 32, 32]]}, "key 'sources.digits.buckets.1.0' has the value 16"),
        (FOLDER | {"buckets": [[5, 32, 32], [0, 32, 32]]}, "key 'sources.digits.buckets.1.0' has the value 0"),
        (FOLDER | {"buckets": []}, "key 'sources.digits.buckets' has the value (): tuple should have at least 1 item"),
        (
            FOLDER | {"buckets": [[1, 32, 32], [5, 32, 32]]},
            "clips take buckets of 5 frames or more, if any has: nothing would ever fill one of 1 frame(s)",
        ),
        (FOLDER | {"kind": "imagefolder"}, "images take buckets of 1 frame: nothing would ever fill one of 5 frame(s)"),
        (FOLDER | {"window_stride": 8}, "unknown key 'sources.digits.window_stride' (value 8)"),
        (of("clips", window_stride=0), "key 'sources.digits.clips.window_stride' has the value 0"),
        (of("clips", use_sliding_window="yes"), "key 'sources.digits.clips.use_sliding_window' has the value 'yes'"),
        (of("clips", window_choice="last"), "key 'sources.digits.clips.window_choice' has the value 'last'"),
        (of("clips", fps=0.0), "key 'sources.digits.clips.fps' has the value 0.0"),
        (of("crop", place="left"), "key 'sources.digits.crop.place' has the value 'left'"),
        (of("filters", duplicate_distance=17), "key 'sources.digits.filters.duplicate_distance' has the value 17"),
        (of("filters", minimum_motion=-1.0), "key 'sources.digits.filters.minimum_motion' has the value -1.0"),
        (SIDECAR | {"extension": "txt"}, "key 'sources.digits.extension' has the value 'txt'"),
        (
            FOLDER | {"split": {"seed": 0, "validation": 0.5, "test": 0.5}},
            "key 'sources.digits.split': validation and test",
        ),
        (FOLDER | {"max_rejected": 1.5}, "key 'sources.digits.max_rejected' has the value 1.5"),
        (FOLDER | {"max_pixels": 10**9}, "key 'sources.digits.max_pixels'"),
    ],
)
def test_what_cannot_be_meant_is_refused(source: dict[str, Any], message: str):
    with pytest.raises(errors.WrongUse) as caught:
        read(source)
    assert message in str(caught.value)
    assert str(caught.value).startswith("params.yaml: ")


@pytest.mark.parametrize(("frames", "nearest"), [(2, "1 or 5"), (8, "5 or 9"), (16, "13 or 17"), (4, "1 or 5")])
def test_the_nearest_lengths_are_named(frames: int, nearest: str):
    with pytest.raises(errors.WrongUse, match=nearest):
        read(FOLDER | {"buckets": [[frames, 32, 32]]})
