from pathlib import Path

import pytest

from frostline import params, path, trainings, transformer
from frostline.checks import of_training
from frostline.errors import WrongUse
from frostline.objectives import flow_matching, squared_error
from frostline.params.trainings import BucketShare
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


SCHEDULE = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
ON_SCHEDULES = {
    "v_prediction": {"prediction": "v_prediction", "diffusion": {**SCHEDULE, "zero_terminal_snr": True}},
    "epsilon": {"prediction": "epsilon", "diffusion": {**SCHEDULE, "zero_terminal_snr": False}},
}


@pytest.mark.parametrize("said", ON_SCHEDULES.values(), ids=ON_SCHEDULES)
def test_trainings_on_a_schedule_pass_and_those_that_stray_are_found(rows, monkeypatch, said):
    loop = tiny.train_params(sampling={"sampler": "unipc", "steps": 20, "shift": 3.0, "guidance": 2.0}, **said)
    assert {finding.verdict for finding in of_training.findings(rows, loop)} == {"pass"}
    monkeypatch.setattr(trainings, "objective", flow_matching.objective)  # it is read as a velocity, and learned as one
    found = {finding.id: finding.verdict for finding in of_training.findings(rows, loop)}
    assert found == {"D03": "pass", "D04": "fail", "D05": "pass"}


WRONG = {
    "the sign of the target": lambda batch, noise, sigma: (
        path.noised(batch.clean, noise, sigma),
        sigma,
        batch.clean - noise,
    ),
    "epsilon for a target": lambda batch, noise, sigma: (path.noised(batch.clean, noise, sigma), sigma, noise),
    "inputs from the other end": lambda batch, noise, sigma: (
        path.noised(batch.clean, noise, 1 - sigma),
        sigma,
        noise - batch.clean,
    ),
    "the sigma of another row": lambda batch, noise, sigma: (
        path.noised(batch.clean, noise, sigma),
        sigma.roll(1),
        noise - batch.clean,
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_trainer_that_strays_from_the_path_is_found(rows, monkeypatch, mistake):
    def objective(process):
        def losses(network, batch, noise, sigma):
            noised, told, target = WRONG[mistake](batch, noise, sigma)
            return squared_error(transformer.velocity_fn(network, batch.text, process)(noised, told), target)

        return losses

    monkeypatch.setattr(flow_matching, "objective", objective)
    found = {finding.id: finding for finding in of_training.findings(rows, on_tiny_data(DEFAULT.run("teacher")))}
    assert found["D04"].verdict == "fail"
    assert {finding.verdict for id_, finding in found.items() if id_ != "D04"} == {"pass"}


def test_a_bucket_without_rows_is_refused_by_name(rows):
    loop = DEFAULT.run("teacher").model_copy(update={"buckets": {"9x16x16": BucketShare(share=1.0, batch=2)}})
    with pytest.raises(WrongUse, match=r"bucket 9x16x16, split train: the cache has no rows"):
        of_training.findings(rows, loop)
