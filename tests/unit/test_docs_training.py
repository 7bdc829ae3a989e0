"""What docs/training.md shows works: its examples are params, and those of a whole training have every key."""

import re
from pathlib import Path
from typing import Any

import yaml

from frostline import budgets, diffusion, records, trainings
from frostline.contract import Diffusion
from frostline.estimating import bases
from frostline.params import Params
from frostline.params.trainings import AdapterParams, DiffusionParams, TrainParams, TunedParams
from tests import tiny

ROOT = Path(__file__).parents[2]


def blocks() -> list[dict[str, Any]]:
    """What docs/training.md shows as YAML."""
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.M)]


def teacher(**changed: Any) -> TrainParams:
    """The project's own with what an example says."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))["train"]["runs"]["teacher"]
    return records.parse(TrainParams, {**values, **changed}, origin="docs/training.md")


def test_the_example_of_a_prediction_is_one():
    [shown] = [block for block in blocks() if "prediction" in block]
    assert set(shown["diffusion"]) | {"steps"} == set(DiffusionParams.model_fields)
    assert set(Diffusion.model_fields) == set(DiffusionParams.model_fields)
    learned = trainings.process(teacher(**shown), patch_size=(1, 1, 1))
    assert (learned.prediction, diffusion.end(learned)) == ("v_prediction", 1.0)
    shown["diffusion"]["zero_terminal_snr"] = False
    assert round(diffusion.end(trainings.process(teacher(**shown), patch_size=(1, 1, 1))), 3) == 0.936


def test_the_example_of_tokens_makes_the_rows_it_says():
    [shown] = [block for block in blocks() if "buckets" in block and "tuned" not in block]
    space = bases.of_family(bases.family("wan2.1-t2v-1.3b"), tiny.cache_params()).space
    rows = budgets.resolved(teacher(**shown).buckets, space, (1, 2, 2), 1)
    assert {name: share.batch for name, share in rows.items()} == {"1x480x832": 25, "81x480x832": 1}


def test_the_example_of_a_training_that_goes_on_has_every_key():
    [shown] = [block for block in blocks() if "tuned" in block]
    values = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8")) | shown
    loaded = records.parse(Params, values, origin="docs/training.md")
    assert set(shown["tuned"]["mine"]) == set(TunedParams.model_fields)
    assert loaded.tuning("mine").start == loaded.base


def test_the_example_of_an_adapter_has_every_key():
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    (block,) = re.findall(r"^```\n(adapter: .*?)^```", text, re.DOTALL | re.M)
    shown = yaml.safe_load(block)["adapter"]
    records.parse(AdapterParams, shown, origin="docs/training.md")
    assert set(shown) == set(AdapterParams.model_fields)
