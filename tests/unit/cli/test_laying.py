"""What a preset's values do to params: above all null, which is a value of some keys and takes others away."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from frostline import records
from frostline.cli import laying
from frostline.params import Params
from tests import neutral

DEFAULT = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text())
SCHEMA = Params.model_json_schema()
PROGRAM = {"command": ["describe"]}
SCENES = {"threshold": 27.0, "minimum_frames": 5}
TABLE = neutral.section("t.csv", "table", captioner=PROGRAM, clips={"fps": 16.0, "scene_cuts": SCENES}, item="shot")
TEACHER = "train.runs.teacher"


def laid(over: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The project's params, with a table for a source, under a preset, and what changed."""
    values = copy.deepcopy(DEFAULT)
    values["sources"] = {"mine": copy.deepcopy(TABLE)}
    return values, laying.lay(values, over, SCHEMA)


def nested(key: str, value: Any) -> Any:
    """``value`` in the sections that a dotted key names."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


@pytest.mark.parametrize(
    "key", ["sources.mine.captioner", "sources.mine.clips.fps", "sources.mine.clips.scene_cuts", "sources.mine.item"]
)
def test_null_is_a_value_of_a_key_that_may_be_null(key: str):
    values, changed = laid(nested(key, None))
    assert at(values, key) is None
    assert changed == {key: (at({"sources": {"mine": TABLE}}, key), None)}
    assert records.parse(Params, values, origin="laid")
    assert laying.lay(values, nested(key, None), SCHEMA) == {}


def test_null_is_also_a_value_where_the_key_was_not():
    values, _ = laid({"sources": {"mine": {"kind": "sidecar", "media": None, "captions": None, "item": None}}})
    assert not {"media", "captions", "item"} & values["sources"]["mine"].keys()
    back = {"kind": "table", "media": "path", "captions": ["caption"], "item": None}
    laying.lay(values, {"sources": {"mine": back}}, SCHEMA)
    assert records.parse(Params, values, origin="laid").source("mine") == records.parse(
        Params, laid({"sources": {"mine": {"item": None}}})[0], origin="laid"
    ).source("mine")


@pytest.mark.parametrize("key", ["students.guided", "evaluate.samples.9x32x32", "sources.mine", f"{TEACHER}.steps"])
def test_null_takes_any_other_key_away(key: str):
    outer, _, last = key.rpartition(".")
    values, changed = laid(nested(key, None))
    assert last not in at(values, outer)
    assert [(name, new) for name, (_, new) in changed.items()] == [(key, laying.ABSENT)]
    assert laying.lay(values, nested(key, None), SCHEMA) == {}


def test_the_kind_a_source_becomes_says_which_nulls_are_values():
    prompts = {"kind": "prompts", "path": "p.txt"} | dict.fromkeys(TABLE.keys() - {"kind", "path", "split"})
    values, _ = laid({"sources": {"mine": prompts}})
    assert values["sources"]["mine"] == {"kind": "prompts", "path": "p.txt", "split": neutral.SPLIT}
    assert records.parse(Params, values, origin="laid")


def test_a_captioner_of_one_kind_takes_the_place_of_another():
    model = {"model": "m", "prompt": "p", "max_new_tokens": 9}
    values, _ = laid({"sources": {"mine": {"captioner": {"command": None, **model}}}})
    assert values["sources"]["mine"]["captioner"] == model


def test_sections_are_merged_and_lists_replaced():
    over = {"sources": {"mine": {"buckets": [[9, 64, 64]], "clips": {"fps": 8.0}}, "other": TABLE}}
    values, changed = laid(over)
    mine = values["sources"]["mine"]
    assert (mine["buckets"], mine["clips"]) == ([[9, 64, 64]], TABLE["clips"] | {"fps": 8.0})
    assert values["sources"]["other"] == TABLE
    assert list(changed) == ["sources.mine.buckets", "sources.mine.clips.fps", "sources.other"]
