"""Trajectories of a teacher as a dataset, and a student that learns from them."""

import dataclasses
import signal

import pytest
import torch

from frostline import dataset as datasets
from frostline import (
    engine,
    files,
    models,
    sampling,
    schedule,
    students,
    teachers,
    trainings,
    trajectories,
    transformer,
    velocities,
)
from frostline.dataset import Dataset
from frostline.errors import Preempted, Refused, WrongUse
from tests import tiny

IMAGES, CLIPS = tiny.IMAGES, tiny.CLIPS


@pytest.fixture
def rows(tmp_path):
    return tiny.data(tmp_path)


@pytest.fixture
def teacher(tmp_path):
    return models.load(tiny.model(tmp_path / "teacher"))


def test_rows_are_the_points_that_the_guided_teacher_comes_through(tmp_path, rows, teacher):
    made = tiny.followed(tmp_path, rows, teacher)
    assert made.trajectories is not None
    assert made.trajectories.sigmas == tuple(schedule.grid(2, 3.0).tolist())
    assert (made.origin, made.space) == (rows.digest, rows.space)
    assert {bucket: len(made.rows(bucket, "train")) for bucket in (IMAGES, CLIPS)} == {IMAGES: 13, CLIPS: 3}
    assert len(made.rows(IMAGES, "validation")) == 2
    batch = made.batch(made.rows(CLIPS, "train").tolist())
    assert batch.clean.shape == (3, 3, 4, 2, 2, 2)
    assert batch.shape == (4, 2, 2, 2)
    points = batch.clean
    assert abs(float(points[:, 0].mean())) < 0.3
    assert 0.7 < float(points[:, 0].std()) < 1.3  # noise as networks see it, not as latents are stored

    process, _ = teacher.sampled()
    inside, outside = (
        velocities.sampled(teacher.transformer, 2.0, None, process=process, text=batch.text, away=away)
        for away in (rows.null().expand_as(batch.text), None)
    )

    def guided(noised, sigma):
        return (inside if 0.1 <= float(sigma[0]) <= 0.9 else outside)(noised, sigma)

    with torch.inference_mode():
        *_, ended = sampling.followed(guided, points[:, 0], schedule.grid(6, 3.0))
    torch.testing.assert_close(points[:, -1], ended, atol=1e-5, rtol=1e-4)


def test_captions_are_those_of_the_rows_and_their_split(tmp_path, rows, teacher):
    made = tiny.followed(tmp_path, rows, teacher)
    [source] = made.sources
    facts = source.facts("split", "captions", "item")
    assert {fact["captions"][0] for fact in facts if fact["split"] == "train"} == set(tiny.CAPTIONS[1:])
    assert len(set(made.ids("id"))) == len(made)
    text = made.batch([0]).text
    caption = tiny.CAPTIONS.index(facts[0]["captions"][0])
    torch.testing.assert_close(text[0, : caption + 1], tiny.texts(rows.space)[caption])
    assert torch.equal(made.null(), rows.null())
    assert made.prompts().keys() == rows.prompts().keys()


def test_prompts_alone_are_enough(tmp_path, teacher):
    folder = tmp_path / "words"
    tiny.prompts_cache(folder / "latents" / "words")
    files.write_json(folder / "latents.json", datasets.index(folder / "latents", ["words"]))
    words = Dataset(folder / "latents.json", folder / "latents")
    made = tiny.followed(tmp_path, words, teacher, rows={IMAGES: 4})
    assert len(made.rows(IMAGES, "train")) == 4


def test_a_run_that_was_stopped_makes_what_is_missing(tmp_path, rows, teacher, monkeypatch):
    whole = tiny.followed(tmp_path, rows, teacher, "whole")
    monkeypatch.setattr(velocities, "CALL_TOKENS", 8)  # two images at once, a clip
    monkeypatch.setattr(trajectories, "PART_CALLS", 1)
    params = tiny.trajectories_params()
    found = list(trajectories.parts(params, teacher, rows))
    assert len(found) == 7 + 3 + 1 + 2
    work = tmp_path / "work"
    maker = trajectories.Maker(params, teacher, rows, "cpu")
    written = maker._write

    def stopping(path, part, points):
        written(path, part, points)
        if len(list(work.rglob("*.parquet"))) == 5:
            signal.raise_signal(signal.SIGTERM)

    maker._write = stopping
    with pytest.raises(Preempted, match="progress is in"):
        maker.make(found, work)
    asked = []
    monkeypatch.setattr(maker, "_followed", lambda *of: asked.append(of) or type(maker)._followed(maker, *of))
    maker.make(found, work)
    assert len(asked) == len(found) - 5  # each part is one call
    trajectories.publish(tmp_path / "cut", trajectories.facts(params, teacher, rows), found, rows, work)
    cut = Dataset(tmp_path / "cut.json", tmp_path / "cut")
    for bucket in (IMAGES, CLIPS):
        pair = [one.batch(one.rows(bucket, "train").tolist()) for one in (whole, cut)]
        torch.testing.assert_close(pair[0].clean, pair[1].clean, atol=1e-5, rtol=1e-5)  # of other batches
        assert torch.equal(pair[0].text, pair[1].text)


def distilled(tmp_path, made, teacher, **changed):
    job = tiny.few_steps(tmp_path, made, teacher, **changed)
    outcome = engine.run(job)
    _, sources = students.begun(teacher, tiny.few_steps_params(**changed))
    trainings.publish(
        tmp_path / "student",
        job,
        outcome,
        stage="distill@few",
        objective="trajectory_matching",
        base="b",
        sources=sources,
    )
    return outcome, models.load(tmp_path / "student")


def test_a_student_of_few_steps_is_a_flow_map_that_says_so(tmp_path, rows, teacher):
    made = tiny.followed(tmp_path, rows, teacher)
    outcome, student = distilled(tmp_path, made, teacher)
    assert isinstance(student.transformer, transformer.AnyFlowTransformer3DModel)
    process, sampled = student.sampled()
    assert process.prediction == "mean_velocity"
    assert (sampled.sampler, sampled.steps, sampled.allowed_steps) == ("flow_map", 2, (1, 2))
    assert made.trajectories is not None
    assert sampled.sigmas == made.trajectories.sigmas[:-1]
    assert (sampled.guidance_form, sampled.guidance, sampled.teacher_digest) == (
        "folded",
        2.0,
        teacher.training.weights_digest,
    )
    assert outcome.progress.validation[0]["step"] == 2
    assert student.training.tensor_sources is not None
    embedder = "condition_embedder.delta_embedder.linear_1.weight"
    assert student.training.tensor_sources[embedder] == embedder.replace("delta", "time")
    scheduler = files.read_json(student.folder / "scheduler" / "scheduler_config.json")
    assert (scheduler["_class_name"], scheduler["shift"]) == ("FlowMapEulerDiscreteScheduler", 3.0)
    assert teachers.load(student.folder).contract == student.contract


def test_training_brings_a_student_nearer_to_what_its_teacher_did(tmp_path, rows, teacher):
    made = tiny.followed(tmp_path, rows, teacher)
    losses = tiny_validation(tmp_path, made, teacher, steps=60)
    assert losses[-1] < 0.7 * losses[0]


def tiny_validation(tmp_path, made, teacher, **changed):
    outcome, _ = distilled(tmp_path, made, teacher, ema_decay=0.0, **changed)
    return [point[IMAGES] for point in outcome.progress.validation]


def test_a_flow_map_begins_as_the_velocity_of_its_teacher(teacher):
    network, _ = students.begun(teacher, tiny.few_steps_params(layers=[0, 1]))
    process, _ = teacher.sampled()
    noised, text = torch.randn(2, 4, 2, 2, 2), torch.randn(2, 6, 8)
    sigma = torch.tensor([0.9, 0.4], dtype=torch.float64)
    maps = process.model_copy(update={"prediction": "mean_velocity"})
    with torch.no_grad():
        theirs = transformer.velocity_fn(teacher.transformer, text, process)(noised, sigma)
        ours = transformer.flow_map_fn(network, text, maps)
        torch.testing.assert_close(ours(noised, sigma, sigma), theirs, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours(noised, sigma), theirs, atol=1e-5, rtol=1e-4)
        assert float((ours(noised, sigma, torch.zeros(2).double()) - theirs).abs().max()) > 1e-4


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"guidance": 3.0}, r"made under guidance 2 in \[0.1, 0.9\].*the student says 3"),
        ({"guidance_interval": [0.0, 1.0]}, r"the student says 2 in \[0.0, 1.0\]"),
    ],
)
def test_rows_under_another_guidance_are_refused(tmp_path, rows, teacher, changed, says):
    made = tiny.followed(tmp_path, rows, teacher)
    with pytest.raises(Refused, match=says):
        students.require_rows(tiny.few_steps_params(**changed), made, teacher)


def test_rows_of_another_teacher_are_refused(tmp_path, rows, teacher):
    made = tiny.followed(tmp_path, rows, teacher)
    training = teacher.training.model_copy(update={"weights_digest": "e" * 32})
    with pytest.raises(Refused, match="name the teacher they were made with"):
        students.require_rows(tiny.few_steps_params(), made, dataclasses.replace(teacher, training=training))


def test_latents_are_no_trajectories_and_the_other_way_round(tmp_path, rows, teacher):
    made = tiny.followed(tmp_path, rows, teacher)
    with pytest.raises(Refused, match="holds latents, and trajectory_matching learns from trajectories"):
        students.require_rows(tiny.few_steps_params(), rows, teacher)
    with pytest.raises(Refused, match="holds trajectories, and velocity_matching learns on latents"):
        students.require_rows(tiny.student_params(), made, teacher)


@pytest.mark.parametrize("sampling", [{"steps": 3}, {"shift": 5.0}])
def test_steps_between_the_points_are_refused(tmp_path, rows, teacher, sampling):
    made = tiny.followed(tmp_path, rows, teacher)
    student = tiny.few_steps_params(
        sampling={"sampler": "flow_map", "steps": 2, "shift": 3.0, "guidance": 1.0, **sampling}
    )
    with pytest.raises(WrongUse, match=r"allow \[1, 2\] steps at shift 3"):
        students.contract(student, made, teacher)


def test_a_shift_that_the_points_were_not_made_at_is_refused(tmp_path, rows, teacher):
    made = tiny.followed(tmp_path, rows, teacher)
    with pytest.raises(WrongUse, match=r"shift 5: the points of .* were made at shift 3"):
        students.contract(tiny.few_steps_params(shift=5.0), made, teacher)


def test_killed_before_the_last_move_nothing_made_is_lost(tmp_path, rows, teacher, monkeypatch):
    monkeypatch.setattr(trajectories.workspace, "publish", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        tiny.followed(tmp_path, rows, teacher)
    monkeypatch.undo()
    monkeypatch.setattr(trajectories.Maker, "_followed", lambda *_: pytest.fail("it was made before"))
    assert len(tiny.followed(tmp_path, rows, teacher)) == 13 + 3 + 2 + 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"caption_dropout": 0.1}, "caption_dropout 0.1.*say 0.0"),
        ({"draws": "logit_normal"}, "draws logit_normal.*say uniform"),
        ({"sampling": {"sampler": "unipc", "steps": 2, "shift": 3.0, "guidance": 1.0}}, "is sampled by flow_map"),
        ({"objective": "velocity_matching"}, "is sampled by unipc or euler"),
    ],
)
def test_params_that_cannot_be_meant_are_refused(changed, says):
    with pytest.raises(WrongUse, match=says):
        tiny.few_steps_params(**changed)


def test_a_bucket_that_nobody_has_captions_for_is_refused(rows, teacher):
    with pytest.raises(WrongUse, match="no source has prompts without media"):
        list(trajectories.parts(tiny.trajectories_params(rows={"9x16x16": 2}), teacher, rows))
