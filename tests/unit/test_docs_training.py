"""What docs/training.md shows works: its example is a set of params, and has every key."""

import re
from pathlib import Path

import yaml

from frostline import records
from frostline.params import Params
from frostline.params.trainings import AdapterParams, TunedParams

ROOT = Path(__file__).parents[2]


def test_the_example_of_a_training_that_goes_on_has_every_key():
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "training.md").read_text("utf-8"), re.DOTALL | re.M)
    shown = yaml.safe_load(block)
    values = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8")) | shown
    loaded = records.parse(Params, values, origin="docs/training.md")
    assert set(shown["tuned"]["mine"]) == set(TunedParams.model_fields)
    assert loaded.tuning("mine").start == loaded.base


def test_the_example_of_an_adapter_has_every_key():
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    (block,) = re.findall(r"^```\n(adapter: .*?)^```", text, re.DOTALL | re.M)
    shown = yaml.safe_load(block)["adapter"]
    assert set(shown) == set(records.parse(AdapterParams, shown, origin="docs/training.md").model_dump())
