"""What `diagnose` writes: of the caches once, of every model, the same every time."""

import json

import pytest

from frostline import engine, files, models, trainings
from frostline.doctor import of_models
from tests import tiny


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_base):
    """A dataset, and a model that was trained on it for a moment."""
    root = tmp_path_factory.mktemp("of-models")
    rows = tiny.data(root)
    job = tiny.job(root / "work", rows, steps=30)
    place, outcome = root / "models" / "tiny", engine.run(job)
    trainings.publish(place, job, outcome, stage="train@tiny", objective="flow_matching", base="nowhere")
    return root, rows


def said(project, tiny_base):
    root, rows = project
    return of_models.examined([root / "models" / "tiny"], rows, base=tiny_base, teachers={}, origin="latents")


def test_findings_are_of_exactly_these_weights_and_name_what_failed(project, tiny_base, capsys):
    found = said(project, tiny_base)
    contract, _, training = models.facts(project[0] / "models" / "tiny")
    one = found["models"]["tiny"]
    assert (one["weights_digest"], one["contract_digest"]) == (training.weights_digest, contract.digest)
    assert not one["passed"]  # of noise there is nothing to learn
    assert one["cause"] == "D25"
    assert one["sentence"] in capsys.readouterr().out
    ids = [finding["id"] for finding in one["findings"]]
    assert {"D10", "D14", "D18", "D21", "D25", "D30", "D36"} >= {"D10", "D18"} <= set(ids)
    assert "not-applicable" not in {finding["verdict"] for finding in one["findings"]}


def test_the_caches_are_examined_once_and_alone(project, tiny_base):
    found = said(project, tiny_base)
    assert {finding["id"] for finding in found["caches"]["findings"]} >= {"D13", "D22", "D35"}
    assert not {"D13", "D22"} & {finding["id"] for finding in found["models"]["tiny"]["findings"]}
    assert found["caches"]["dataset_digest"] == project[1].digest


def test_what_is_written_is_the_same_every_time(project, tiny_base, tmp_path):
    one, other = (said(project, tiny_base) for _ in range(2))
    assert one == other
    files.write_json(tmp_path / "doctor.json", one)
    assert "seconds" not in json.dumps(one)
