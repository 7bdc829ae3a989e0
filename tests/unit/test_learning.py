"""Each objective of students through the training loop: what it moves, what it asks, and that it goes on to the bit."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frostline import (
    companions,
    digests,
    engine,
    models,
    randomness,
    sampling,
    schedule,
    students,
    trainings,
    validation,
)
from frostline.companions import Critic
from frostline.dataset import Dataset
from frostline.errors import FrostlineError, Refused, WrongUse
from frostline.objectives import consistency
from frostline.objectives import critic as of_critic
from frostline.optimizer import Optimizer
from frostline.params.trainings import StudentParams
from tests import tiny

JUMPING = ["consistency", "distribution_matching", "consistency_and_distribution"]
ALL = [*JUMPING, "flow_map"]
LONG = {"steps": 8, "checkpoint_every": 2, "validate_every": {"steps": 3}}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny.data(tmp_path_factory.mktemp("learning"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> models.Model:
    return models.load(tiny.model(tmp_path_factory.mktemp("teacher") / "teacher"))


def job(folder: Path, rows: Dataset, teacher: models.Model, objective: str, **changed: Any) -> engine.Job:
    folder.mkdir(exist_ok=True)
    facts = {**LONG, **changed}
    student = tiny.mapping_params(**facts) if objective == "flow_map" else tiny.jumping_params(objective, **facts)
    return tiny.distillation(folder, rows, teacher, student)


@pytest.mark.parametrize("objective", ALL)
def test_a_student_moves_and_its_teacher_does_not(tmp_path: Path, rows: Dataset, teacher: models.Model, objective: str):
    made = job(tmp_path, rows, teacher, objective)
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    theirs = {name: tensor.clone() for name, tensor in teacher.transformer.state_dict().items()}
    outcome = engine.run(made)
    moved = [name for name, tensor in outcome.network.state_dict().items() if not tensor.equal(before[name])]
    assert len(moved) == len(before)
    assert all(tensor.equal(theirs[name]) for name, tensor in teacher.transformer.state_dict().items())
    assert not outcome.progress.skipped
    told = {"critic_before", "critic_after"} if "distribution" in objective else set()
    assert all(set(point) == {"step", "loss", *told} for point in outcome.progress.curve)


@pytest.mark.parametrize("objective", ALL)
def test_a_distillation_that_was_cut_goes_on_to_the_same_bytes(
    tmp_path: Path, rows: Dataset, teacher: models.Model, objective: str
):
    def published(name: str, made: engine.Job) -> str:
        outcome = engine.run(made)
        folder = tmp_path / f"{name}-model"
        trainings.publish(folder, made, outcome, stage="distill@tiny", objective=objective, base="base")
        return digests.of_folder(folder)

    whole = published("whole", job(tmp_path / "whole", rows, teacher, objective))
    cut = job(tmp_path / "cut", rows, teacher, objective)
    learned, calls = cut.objective, iter(range(1000))

    def dies(*given: Any) -> torch.Tensor:
        if given[0].training and next(calls) == 5:
            raise KeyboardInterrupt
        return learned(*given)

    with pytest.raises(KeyboardInterrupt):
        engine.run(dataclasses.replace(cut, objective=dies))
    again = job(tmp_path / "cut", rows, teacher, objective)
    assert published("cut", again) == whole


@pytest.mark.parametrize("objective", ALL)
def test_parts_of_a_batch_learn_what_the_whole_does(
    tmp_path: Path, rows: Dataset, teacher: models.Model, objective: str
):
    weights = []
    for count in (1, 2):
        compute = {"dtype": "auto", "accumulate": count, "recompute": False, "compile": False}
        outcome = engine.run(job(tmp_path / str(count), rows, teacher, objective, compute=compute, steps=2))
        weights.append(torch.cat([p.flatten() for p in outcome.network.parameters()]))
    assert float((weights[0] - weights[1]).norm() / weights[0].norm()) < 1e-5


def test_the_critic_learns_what_the_student_makes(tmp_path: Path, rows: Dataset, teacher: models.Model):
    """It begins as the teacher's whole network, and comes nearer to a student that hardly moves."""
    still = {**tiny.train_params().optimizer.model_dump(mode="json"), "muon_rate": None, "adamw_rate": 1e-5}
    quick = {**still, "adamw_rate": 0.003, "warmup_steps": 1, "schedule": "constant"}
    made = job(
        tmp_path,
        rows,
        teacher,
        "distribution_matching",
        steps=40,
        optimizer=still,
        critic={"updates": 5, "optimizer": quick},
        buckets={tiny.IMAGES: {"share": 1.0, "batch": 8}},
    )
    [critic] = made.companions
    assert isinstance(critic, Critic)
    for name, tensor in critic.network.state_dict().items():
        assert tensor.equal(teacher.transformer.state_dict()[name])
    before = held_out(made, critic)
    engine.run(made)
    assert held_out(made, critic) < 0.97 * before


@torch.no_grad()
def held_out(made: engine.Job, critic: Critic) -> float:
    """The critic's loss on what the student makes of noise of its own."""
    batch = made.dataset.batch(made.dataset.rows(tiny.IMAGES, "train").tolist())
    assert isinstance(made.params, StudentParams)
    sigmas = students.simulated(made.params)
    learned = of_critic.objective(made.process, student=made.network, sigmas=sigmas)
    noise = randomness.normal(tuple(batch.clean.shape), "held out")
    return float(learned(critic.network, batch, noise, made.times.spread(len(noise))).mean())


def test_a_consistent_student_is_averaged_beside_its_target(tmp_path: Path, rows: Dataset, teacher: models.Model):
    """With no decay the average is the network: two averages of one network must not take it from one another."""
    made = job(tmp_path, rows, teacher, "consistency", ema_decay=0.0)
    outcome = engine.run(made)
    for own, other in zip(outcome.network.parameters(), made.network.parameters(), strict=True):
        torch.testing.assert_close(own, other.detach())


@pytest.mark.parametrize(("ratio", "said"), [(0.0, True), (1e9, False)])
def test_a_training_says_once_that_its_critic_lags(
    tmp_path: Path,
    rows: Dataset,
    teacher: models.Model,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    ratio: float,
    said: bool,
):
    monkeypatch.setattr(companions, "LAGGING", ratio)
    engine.run(job(tmp_path, rows, teacher, "distribution_matching"))
    assert "".join(capfd.readouterr()).count("raise critic.updates") == said


def test_the_weight_of_the_derivative_reaches_the_flow_map(tmp_path: Path, rows: Dataset, teacher: models.Model):
    ends = []
    for steps in (0, 1000):
        tangent = {"at_start": 0.0, "at_zero": 1.0, "warmup_steps": steps, "delta": 0.0005}
        outcome = engine.run(job(tmp_path / str(steps), rows, teacher, "flow_map", tangent=tangent))
        ends.append(torch.cat([p.flatten() for p in outcome.network.parameters()]))
    assert not torch.allclose(*ends, atol=1e-4)


def test_the_target_follows_and_is_asked_under_no_gradient(tmp_path: Path, rows: Dataset, teacher: models.Model):
    made = job(tmp_path, rows, teacher, "consistency", steps=3)
    [target] = made.companions
    assert isinstance(target, companions.Target)
    before = {name: tensor.clone() for name, tensor in target.network.state_dict().items()}
    asked: list[bool] = []
    target.network.register_forward_hook(lambda *_: asked.append(torch.is_grad_enabled()))
    engine.run(made)
    assert asked
    assert not any(asked)
    assert any(not tensor.equal(before[name]) for name, tensor in target.network.state_dict().items())


def test_a_critic_that_runs_behind_is_told_of_with_the_remedy():
    assert companions.lagging({"step": 1, "loss": 2.0}) is None
    assert companions.lagging({"critic_before": 1.04, "critic_after": 1.0}) is None
    said = companions.lagging({"critic_before": 1.5, "critic_after": 1.0})
    assert said is not None
    assert "raise critic.updates" in said


def test_a_critic_s_loss_that_is_no_number_ends_the_training(tmp_path: Path, rows: Dataset, teacher: models.Model):
    made = job(tmp_path, rows, teacher, "distribution_matching")
    [critic] = made.companions
    assert isinstance(critic, Critic)
    with torch.no_grad():
        critic.network.proj_out.weight.fill_(float("nan"))
    with pytest.raises(FrostlineError, match=r"gradient of the critic is no number.*lower the rate"):
        engine.run(made)


def test_students_with_noise_between_steps_are_sampled_as_they_learned(rows: Dataset, teacher: models.Model):
    found = students.contract(tiny.jumping_params("consistency"), rows, teacher).sampling
    assert found is not None
    assert found.allowed_steps == (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)
    assert (found.sampler, found.allowed_shifts, found.guidance_form) == ("renoise", (3.0,), "folded")
    grid = schedule.grid(consistency.STEPS, 3.0)
    for steps in found.allowed_steps or ():
        visited = sampling.sampler(found).sigmas(steps, 3.0)
        assert torch.cdist(visited[:, None], grid[:, None]).min(1).values.max() < 1e-12
    for objective in JUMPING[1:]:
        found = students.contract(tiny.jumping_params(objective), rows, teacher).sampling
        assert found is not None
        assert (found.allowed_steps, found.sigmas) == ((2,), tuple(schedule.grid(2, 3.0)[:-1].tolist()))
        with pytest.raises(Refused, match="trained for 2 steps only"):
            sampling.refuse_forbidden(found, steps=4)


def test_a_proof_that_cannot_be_had_is_refused(
    tmp_path: Path, rows: Dataset, teacher: models.Model, monkeypatch: pytest.MonkeyPatch
):
    held_out = len(rows.rows(tiny.CLIPS, "validation"))
    buckets = {tiny.CLIPS: {"share": 1.0, "batch": 4}}
    assert job(tmp_path, rows, teacher, "consistency", proof_rows=held_out, buckets=buckets).proof is not None
    monkeypatch.setattr(Dataset, "rows", lambda self, bucket, split: np.array([0]))
    with pytest.raises(WrongUse, match=r"proof_rows 8: .* holds out 1 row"):
        job(tmp_path, rows, teacher, "consistency", proof_rows=8, buckets=buckets)


@pytest.mark.parametrize(
    ("objective", "changed", "says"),
    [
        ("consistency", {"steps": 5}, "a grid of 48 steps, which allows"),
        ("consistency", {"shift": 5.0}, "learns at shift 3"),
        ("distribution_matching", {"shift": 5.0}, "learns at shift 3"),
    ],
)
def test_another_sampling_is_refused(
    rows: Dataset, teacher: models.Model, objective: str, changed: dict[str, Any], says: str
):
    sampled = {"sampler": "renoise", "steps": 2, "shift": 3.0, "guidance": 1.0, **changed}
    with pytest.raises(WrongUse, match=says):
        students.contract(tiny.jumping_params(objective, sampling=sampled), rows, teacher)


@pytest.mark.parametrize(
    ("objective", "changed", "says"),
    [
        ("distribution_matching", {"critic": None}, "without critic"),
        ("flow_map", {"tangent": None}, "without tangent"),
        ("flow_map", {"keep": {"last": 2, "best": 1, "milestones": None}}, "says nothing of quality"),
        ("flow_map", {"tangent": {"at_start": 0.6, "at_zero": 0.6, "warmup_steps": 0, "delta": 0.001}}, "one whole"),
        ("consistency", {"asked_at": "student"}, "asked_at is not read by consistency"),
        ("consistency", {"distribution_weight": 0.1}, "distribution_weight is not read by consistency"),
        ("consistency_and_distribution", {"distribution_weight": None}, "without distribution_weight"),
        ("distribution_matching", {"keep": {"last": 2, "best": 1, "milestones": None}}, "says nothing of quality"),
        ("distribution_matching", {"caption_dropout": 0.1}, "say 0.0"),
        ("consistency", {"draws": "logit_normal"}, "say uniform"),
        ("flow_map", {"draws": "logit_normal"}, "say uniform"),
        ("consistency", {"keep": {"last": 2, "best": 1, "milestones": None}}, "against the student itself"),
        ("consistency", {"proof_rows": 1}, "proof_rows"),
        (
            "consistency",
            {"sampling": {"sampler": "euler", "steps": 2, "shift": 3.0, "guidance": 1.0}},
            "sampled by renoise",
        ),
    ],
)
def test_params_that_do_not_fit_the_objective_are_refused(objective: str, changed: dict[str, Any], says: str):
    with pytest.raises(WrongUse, match=says):
        (tiny.mapping_params if objective == "flow_map" else functools.partial(tiny.jumping_params, objective))(
            **changed
        )


def test_velocities_are_matched_on_the_rollouts_that_params_ask_for(
    tmp_path: Path, rows: Dataset, teacher: models.Model
):
    losses = []
    for asked_at in (None, "teacher", "student"):
        folder = tmp_path / str(asked_at)
        folder.mkdir()
        outcome = engine.run(tiny.distillation(folder, rows, teacher, tiny.student_params(asked_at=asked_at, steps=2)))
        losses.append(outcome.progress.curve[0]["loss"])
    assert len(set(losses)) == 3


def test_moments_decay_as_params_say(tmp_path: Path, rows: Dataset, teacher: models.Model):
    optimizer = {**tiny.train_params().optimizer.model_dump(mode="json"), "muon_rate": None}
    betas = {**optimizer, "adam_betas": [0.0, 0.999]}
    critic = {"updates": 1, "optimizer": betas}
    made = job(tmp_path, rows, teacher, "distribution_matching", optimizer=optimizer, critic=critic)
    [beside] = made.companions
    assert isinstance(beside, Critic)
    own, theirs = Optimizer(made.network, made.params.optimizer, 1), beside.optimizer
    assert own.parts["adamw"][0].defaults["betas"] == (0.9, 0.95)
    assert theirs.parts["adamw"][0].defaults["betas"] == (0.0, 0.999)


@pytest.mark.parametrize("objective", ["consistency", "flow_map"])
def test_what_a_student_makes_is_held_against_its_teacher_and_moves_nothing(
    tmp_path: Path, rows: Dataset, teacher: models.Model, objective: str
):
    ends = []
    for count in (None, 2):
        made = job(tmp_path / str(count), rows, teacher, objective, proof_rows=count)
        outcome = engine.run(made)
        ends.append(torch.cat([p.flatten() for p in outcome.network.parameters()]))
        if count:
            assert [point["step"] for point in outcome.progress.proof] == [3, 6, 8]
            names = {"step", "drift", "spread", "diversity", "saturation"}
            assert set(outcome.progress.proof[0]) == names | ({"endpoint"} if objective == "flow_map" else set())
            folder = tmp_path / "model"
            trainings.publish(folder, made, outcome, stage="distill@tiny", objective=objective, base="base")
            assert (folder / "proof.tsv").read_text().startswith("step\tdiversity\tdrift")
        else:
            assert made.proof is None
            assert outcome.progress.proof == []
    assert ends[0].equal(ends[1])


def test_the_teacher_itself_ends_where_its_proof_does(tmp_path: Path, rows: Dataset, teacher: models.Model):
    """A velocity that is not guided, sampled as the teacher is: the truth is that of the stage's own teaching."""
    sampled = {"sampler": "unipc", "steps": 2, "shift": 3.0, "guidance": 1.0}
    student = tiny.student_params(layers=[0, 1], guidance=1.0, sampling=sampled, proof_rows=3)
    made = tiny.distillation(tmp_path, rows, teacher, student)
    assert made.proof is not None
    found = validation.proof(made, made.network)
    assert found is not None
    assert found["endpoint"] < 0.01
    assert found["diversity"] == pytest.approx(1.0, abs=0.01)


def test_a_flow_map_is_sampled_in_any_number_of_steps(tmp_path: Path, rows: Dataset, teacher: models.Model):
    made = job(tmp_path, rows, teacher, "flow_map")
    found = made.contract.sampling
    assert found is not None
    assert made.process.prediction == "mean_velocity"
    for steps in (1, 3, 7):
        sampling.refuse_forbidden(found, steps=steps)
        assert len(sampling.sampler(found).sigmas(steps, 3.0)) == steps + 1


def test_the_derivative_gains_its_weight_step_by_step(rows: Dataset):
    warmth, batch = companions.Warmth(4), rows.batch([0])
    found = []
    for step in (0, 1, 2, 4, 9):
        warmth.lead(batch, step)
        found.append(warmth())
    assert found == [0.0, 0.25, 0.5, 1.0, 1.0]
