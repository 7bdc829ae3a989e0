"""Params of sources: what cannot be meant is refused, by the key as params.yaml has it."""

from typing import Any

import pytest

from frostline import errors, params, records

DIGITS = {"kind": "digits", "path": "p", "size": 32, "draws": [{"frames": 1, "per_scan": 1}]}
FOLDER = {
    "kind": "videofolder",
    "path": "p",
    "caption": "text",
    "buckets": [[5, 32, 32]],
    "use_sliding_window": True,
    "window_stride": 8,
    "split": {"seed": 0, "validation": 0.05, "test": 0.05},
    "max_pixels": 1_000_000,
    "max_rejected": 0.0,
}


class Section(records.Record):
    sources: dict[params.Name, params.SourceParams]


def read(source: dict[str, Any]) -> params.SourceParams:
    return records.parse(Section, {"sources": {"digits": source}}, origin="params.yaml").sources["digits"]


def test_each_kind_has_its_own_keys():
    assert isinstance(read(DIGITS), params.DigitsParams)
    for kind in ("videofolder", "frames"):
        assert isinstance(read(FOLDER | {"kind": kind}), params.FolderParams)
    assert isinstance(read(FOLDER | {"kind": "imagefolder", "buckets": [[1, 32, 32]]}), params.FolderParams)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (DIGITS | {"window_stride": 8}, "unknown key 'sources.digits.window_stride' (value 8)"),
        ({"kind": "digits"}, "missing key 'sources.digits.size'"),
        (DIGITS | {"kind": "webdataset"}, "key 'sources.digits': input tag 'webdataset'"),
        (DIGITS | {"draws": []}, "key 'sources.digits': draws name the lengths []"),
        (DIGITS | {"draws": DIGITS["draws"] * 2}, "key 'sources.digits': draws name the lengths [1, 1]"),
        (DIGITS | {"draws": [{"frames": 4, "per_scan": 1}]}, "key 'sources.digits.draws.0.frames' has the value 4"),
        (FOLDER | {"buckets": [[5, 32, 32], [16, 32, 32]]}, "key 'sources.digits.buckets.1.0' has the value 16"),
        (FOLDER | {"buckets": [[5, 32, 32], [0, 32, 32]]}, "key 'sources.digits.buckets.1.0' has the value 0"),
        (FOLDER | {"buckets": []}, "buckets are empty"),
        (
            FOLDER | {"buckets": [[1, 32, 32]]},
            "clips take buckets of 5 frames or more: nothing would ever fill [1, 32, 32]",
        ),
        (FOLDER | {"kind": "imagefolder"}, "images take buckets of 1 frame: nothing would ever fill [5, 32, 32]"),
        (FOLDER | {"window_stride": 0}, "key 'sources.digits.window_stride' has the value 0"),
        (FOLDER | {"use_sliding_window": "yes"}, "key 'sources.digits.use_sliding_window' has the value 'yes'"),
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
