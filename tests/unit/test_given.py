"""What only the user can bring is named all at once, with the keys that ask for it and what brings it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from frostline import given, records
from frostline.errors import WrongUse
from frostline.params import Params
from tests import neutral

ROOT = Path(__file__).parents[2]
CLIPS = neutral.section("media/clips", "sidecar", extension=".txt", lines="one_caption")


def settings(**changed: Any) -> Params:
    """The project's own params on a published base, its student learning from a tuned model."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    run = {key: value for key, value in values["train"]["runs"]["teacher"].items() if key != "model"}
    values |= {"base": "bases/wan2.2-ti2v-5b", "tuned": {"warm": run | {"start": "bases/wan2.2-ti2v-5b"}}}
    values["students"]["guided"]["teacher"] = "models/warm"
    return records.parse(Params, {**values, **changed}, origin="a test")


def test_the_project_as_it_stands_has_all_it_needs():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert given.absent(records.parse(Params, values, origin="params.yaml"), ROOT) == []


def test_a_base_and_media_are_named_with_what_brings_them(tmp_path):
    of = settings(sources={"clips": CLIPS})
    base, media = given.absent(of, tmp_path)
    assert base.startswith("bases/wan2.2-ti2v-5b: not there, and params.yaml names it as base and tuned.warm.start;")
    assert "`frostline fetch Wan-AI/Wan2.2-TI2V-5B bases/wan2.2-ti2v-5b` brings it" in base
    assert media.startswith("media/clips: not there, and params.yaml names it as sources.clips.path;")
    with pytest.raises(WrongUse) as caught:
        given.require(of, tmp_path)
    assert str(caught.value) == f"{base}\n{media}"
    for path in (of.base, "media/clips"):
        (tmp_path / path).mkdir(parents=True)
    given.require(of, tmp_path)


def test_models_that_are_made_here_are_not_asked_for_and_others_are(tmp_path):
    (tmp_path / "bases" / "wan2.2-ti2v-5b").mkdir(parents=True)
    assert given.absent(settings(sources={}), tmp_path) == []
    student = settings().student("guided").model_copy(update={"teacher": "bases/mine"})
    [line] = given.absent(settings(sources={}).model_copy(update={"students": {"guided": student}}), tmp_path)
    assert line.startswith("bases/mine: not there, and params.yaml names it as students.guided.teacher;")
    assert "`frostline fetch OWNER/NAME bases/mine`" in line


def test_what_lies_in_a_store_is_not_looked_for(tmp_path):
    (tmp_path / "bases" / "wan2.2-ti2v-5b").mkdir(parents=True)
    assert given.absent(settings(sources={"clips": CLIPS | {"path": "s3://bucket/clips"}}), tmp_path) == []
