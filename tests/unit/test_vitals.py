"""What must hold while a training runs: each fault stops it, a healthy one leaves its record, nothing is moved."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.parts import running
from frostline import engine, files, trainings, vitals
from frostline.doctor import catalogue, examination, own_records
from frostline.doctor.case import Given, Size
from frostline.vitals import attendant, words
from tests import tiny

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return tiny.data(tmp_path_factory.mktemp("vitals"))


@pytest.mark.parametrize("case", running.cases(), ids=lambda case: case.name)
def test_a_fault_of_a_running_training_stops_it(case: running.Case, tmp_path: Path):
    step, said = running.stopped(case, tmp_path)
    assert step is not None, "it ran to its end"
    assert step < 200
    assert f"{case.cause} {words.ABOUT[case.cause].name}: " in said
    assert words.ABOUT[case.cause].remedy in said


def test_a_healthy_training_leaves_what_was_measured_beside_the_model(rows, tmp_path):
    job = tiny.job(tmp_path / "work", rows, steps=60)
    trainings.publish(tmp_path / "model", job, engine.run(job), stage="train@tiny", objective="flow_matching", base="b")
    found = {finding.id: finding for finding in vitals.read(tmp_path / "model" / vitals.FILE)}
    assert set(found) == {"D10", "D18", "D21", "D25", "D35"}
    assert {finding.verdict for finding in found.values()} == {"pass"}
    assert found["D21"].measured["repeated_draws"] == 0
    assert 0.5 < found["D21"].measured["fresh_over_used"] < 1.5
    assert found["D25"].measured["changed_by_a_step"] > 0.9
    shown = own_records.while_training(tmp_path / "model")
    assert all(finding.reason == "while it was trained" for finding in shown)


def test_a_verdict_in_a_record_is_not_believed(tmp_path):
    record = vitals.stated({"D10": {"foreign_parameters": 2.0, "frozen_moved": 0.0}})
    assert record["findings"][0]["verdict"] == "fail"
    record["findings"][0]["verdict"] = "pass"
    files.write_json(tmp_path / vitals.FILE, record)
    [finding] = vitals.read(tmp_path / vitals.FILE)
    assert finding.verdict == "fail"


def test_a_training_that_is_looked_at_comes_to_the_same_weights(rows, tmp_path, monkeypatch):
    looked_at = engine.run(tiny.job(tmp_path / "one", rows, steps=30))
    monkeypatch.setattr(attendant, "looks", lambda _: False)
    alone = engine.run(tiny.job(tmp_path / "two", rows, steps=30))
    assert looked_at.progress.checks
    assert not alone.progress.checks
    theirs = alone.network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in looked_at.network.state_dict().items())


def test_a_training_that_was_killed_says_the_same_in_the_end(rows, tmp_path):
    whole = engine.run(tiny.job(tmp_path / "one", rows, steps=60)).progress.checks
    job = tiny.job(tmp_path / "two", rows, steps=60, checkpoint_every=21)
    calls = iter(range(1000))

    def power_cut(*given: Any) -> torch.Tensor:
        if given[0].training and next(calls) == 40:
            raise KeyboardInterrupt
        return job.objective(*given)

    with pytest.raises(KeyboardInterrupt):
        engine.run(dataclasses.replace(job, objective=power_cut))
    assert engine.run(job).progress.checks == whole


def test_a_checkpoint_that_knows_nothing_of_checks_goes_on(rows, tmp_path):
    job = tiny.job(tmp_path, rows, checkpoint_every=2)
    engine.run(dataclasses.replace(job, params=job.params.model_copy(update={"stop_at": 4})))
    for state in tmp_path.glob("step-*/state.json"):
        said = json.loads(state.read_text())
        del said["checks"]
        state.write_text(json.dumps(said))
    assert engine.run(job).progress.step == 6


def test_a_training_that_has_not_ended_is_examined_by_its_newest_checkpoint(rows, tmp_path):
    engine.run(tiny.job(tmp_path / "work", rows, steps=60, checkpoint_every=30))
    assert own_records.is_run(tmp_path / "work")
    assert not own_records.is_run(tmp_path)
    given = Given(subject=None, teacher=None, cache=None, base=None, size=Size.of(deep=False), run=tmp_path / "work")
    found = examination.examine(given, lambda _: None)
    made = {finding.id: finding for finding in found.findings if finding.verdict != "not-applicable"}
    assert set(made) == {"D10", "D18", "D21", "D25", "D26", "D35"}
    assert made["D21"].reason == "60 steps so far"
    assert not found.failed
    state = max((tmp_path / "work").glob("step-*/state.json"))
    said = files.read_json(state)
    files.write_json(state, {**said, "checks": {**said["checks"], "D21": {"repeated_draws": 0.4}}})
    assert examination.examine(given, lambda _: None).diagnosis.cause == "D21"


@pytest.mark.parametrize(("kind", "says"), [("whole", "{'answers_apart': 0.0}"), ("apart", "D24 rank-sync: ")])
def test_two_processes_are_one_model_or_are_stopped(tmp_path, kind, says):
    words = ["--standalone", "--nproc-per-node", "2", "-m", "tests.apart", str(tmp_path), kind]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for rank in (0, 1):
        assert says in (tmp_path / f"said-{rank}").read_text()


def test_words_are_those_of_the_catalogue():
    for id_, about in words.ABOUT.items():
        known = catalogue.entry(id_)
        assert (about.name, about.question) == (known.name, known.question)
    assert set(words.BOUNDS) == set(words.ABOUT)
