from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from frostline import models
from frostline.doctor import own_records
from frostline.models import Training
from frostline.wan.loading import Audit


def training(**changed: Any) -> Training:
    facts: dict[str, Any] = {
        "stage": "train@a",
        "steps_planned": 1000,
        "steps_done": 1000,
        "parameters": {"total": 1},
        "dataset_digest": "d",
        "weights_digest": "w",
        "ema_decay": 0.99,
        "objective": "flow_matching",
        "teacher_digest": None,
        "tensor_sources": None,
    }
    return models.Training(**{**facts, **changed})


def head(value: float) -> nn.Module:
    made = nn.Module()
    made.proj_out = nn.Linear(4, 4)
    with torch.no_grad():
        made.proj_out.weight.fill_(value)
    return made


def test_whole_weights_pass():
    assert own_records.load_audit([Audit()], [head(0.1)]).verdict == "pass"


@pytest.mark.parametrize(
    ("audit", "network", "said"),
    [
        (Audit(missing=["blocks.0.a", "blocks.0.b"]), head(0.1), "missing: blocks.0.a, blocks.0.b"),
        (Audit(unexpected=["extra"]), head(0.1), "unexpected: extra"),
        (Audit(mismatched=["a: 1, 2"]), head(0.1), "mismatched: a: 1, 2"),
        (Audit(), head(0.0), "heads_of_zeros: proj_out.weight"),
        (Audit(), head(float("nan")), "not_finite: proj_out.weight"),
    ],
    ids=["missing", "unexpected", "mismatched", "zeros", "no number"],
)
def test_what_is_amiss_with_weights_is_named(audit: Audit, network: nn.Module, said: str):
    found = own_records.load_audit([audit], [network])
    assert found.verdict == "fail"
    assert said in found.reason


@pytest.mark.parametrize(
    ("facts", "digest", "loss", "validated", "broken"),
    [
        ({}, "w", 0.5, 0.49, None),
        ({}, "other", None, None, "same_digest"),
        ({"ema_decay": 0.9999}, "w", None, None, "share_of_start"),
        ({}, "w", 1.2, 0.5, "loss_over_validated"),
    ],
)
def test_weights_that_were_not_evaluated_fail(
    facts: dict[str, Any], digest: str, loss: float | None, validated: float | None, broken: str | None
):
    found = own_records.same_weights(training(**facts), digest, loss, validated)
    assert found.verdict == ("fail" if broken else "pass")
    assert (broken or "") in found.reason


def test_an_unfinished_training_fails_and_one_that_still_falls_is_worth_a_look():
    level, falling = [1.0] * 100, [1.0 - 0.006 * n for n in range(100)]
    assert own_records.finished(training(), level).verdict == "pass"
    assert own_records.finished(training(), falling).verdict == "warn"
    found = own_records.finished(training(steps_done=79, steps_planned=600), falling)
    assert found.verdict == "fail"
    assert "79 of 600 steps" in found.reason


def test_a_published_model_is_not_said_to_be_unfinished():
    assert own_records.finished(training(steps_planned=0, steps_done=0), []).verdict == "not-applicable"


def test_a_student_whose_blocks_came_from_others_than_recorded_is_worth_a_look():
    generator = torch.Generator().manual_seed(0)
    teacher = {f"blocks.{n}.ffn.weight": torch.randn(8, 8, generator=generator) for n in range(4)}
    student = {f"blocks.{n}.ffn.weight": teacher[f"blocks.{2 * n}.ffn.weight"] + 0.1 for n in range(2)}
    right = {f"blocks.{n}.ffn.weight": f"blocks.{2 * n}.ffn.weight" for n in range(2)}
    wrong = {f"blocks.{n}.ffn.weight": f"blocks.{n + 1}.ffn.weight" for n in range(2)}
    assert own_records.sources(right, student, teacher).verdict == "pass"
    assert own_records.sources(wrong, student, teacher).verdict == "warn"


def test_tables_of_a_training_are_read_without_what_is_no_number(tmp_path: Path):
    (tmp_path / "curve.tsv").write_text("step\tloss\n1\t2.0\n2\tnan\n3\t1.0\n")
    assert own_records.curve(tmp_path / "curve.tsv", "loss") == [2.0, 1.0]
    (tmp_path / "sigmas.tsv").write_text("step\t0-0.1\t0.1-0.2\n1\t\t1.0\n2\t\t3.0\n")
    assert own_records.last_by_sigma(tmp_path / "sigmas.tsv") == {0.15: 2.0}
