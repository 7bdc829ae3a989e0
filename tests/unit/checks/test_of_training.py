from pathlib import Path

import pytest

from frostline import params
from frostline.checks import of_training
from tests import tiny

DEFAULT = params.load(Path(__file__).parents[3] / "params.yaml")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return tiny.data(tmp_path_factory.mktemp("of_training"))


def on_tiny_data(loop):
    shares = tiny.train_params().buckets
    return loop.model_copy(update={"buckets": shares})


@pytest.mark.parametrize("loop", [DEFAULT.run("teacher"), DEFAULT.student("guided"), tiny.train_params()])
def test_the_project_s_own_trainings_pass(rows, loop):
    found = of_training.findings(rows, on_tiny_data(loop))
    assert [(finding.id, finding.verdict) for finding in found] == [(finding.id, "pass") for finding in found]
    assert {finding.id for finding in found} >= {"D03", "D04", "D05"}
