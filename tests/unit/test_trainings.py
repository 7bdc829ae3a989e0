import dataclasses
import signal
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from frostline import contract, digests, engine, models, students, trainings
from frostline.errors import Refused, WrongUse
from tests import tiny


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return tiny.data(tmp_path_factory.mktemp("trainings"))


@pytest.fixture(autouse=True)
def signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def trained(tmp_path, rows, **changed):
    (tmp_path / "work").mkdir(parents=True, exist_ok=True)
    job = tiny.job(tmp_path / "work", rows, steps=2, **changed)
    outcome = engine.run(job)
    trainings.publish(tmp_path / "model", job, outcome, stage="train@tiny", objective="flow_matching", base="base")
    return tmp_path / "model"


def test_a_teacher_s_contract_says_what_params_say(rows):
    meaning = trainings.teacher_contract(tiny.train_params(), rows.space)
    assert meaning.latent_space == rows.space
    assert meaning.process == tiny.process(buckets=((1, 16, 16), (5, 16, 16)))
    assert meaning.sampling is not None
    assert (meaning.sampling.guidance, meaning.sampling.guidance_form) == (2.0, "external")
    assert (meaning.sampling.steps, meaning.sampling.shift, meaning.sampling.sampler) == (2, 3.0, "euler")


def test_a_student_s_contract_has_guidance_folded_and_names_its_teacher(tmp_path, rows):
    teacher = models.load(trained(tmp_path, rows))
    meaning = students.contract(tiny.student_params(guidance=3.0), rows, teacher)
    assert meaning.sampling is not None
    assert (meaning.sampling.guidance, meaning.sampling.guidance_form) == (3.0, "folded")
    assert meaning.sampling.teacher_digest == teacher.training.weights_digest


def test_a_published_model_tells_how_it_came_to_be(tmp_path, rows):
    folder = trained(tmp_path, rows)
    model = models.load(folder)
    assert model.training.complete
    assert model.training.dataset_digest == rows.digest
    counts = model.training.parameters
    assert (counts["frozen_vae"], counts["frozen_text"]) == (7, 5)
    assert counts["total"] == counts["trainable"] + 12
    assert (folder / "curve.tsv").read_text().splitlines()[0] == "step\tloss"
    assert (folder / "validation.tsv").read_text().splitlines()[0] == f"step\t{tiny.IMAGES}\t{tiny.CLIPS}"
    assert [path.name for path in (folder / "preview").iterdir()] == ["step-00000002.safetensors"]
    assert not (tmp_path / "work").exists()


def test_two_trainings_are_the_same_bytes(tmp_path, rows):
    assert len({digests.of_folder(trained(tmp_path / name, rows)) for name in ("one", "two")}) == 1


def test_a_training_that_went_on_from_a_checkpoint_is_the_same_bytes(tmp_path, rows):
    whole = trained(tmp_path / "whole", rows, checkpoint_every=1)
    work = tmp_path / "broken" / "work"
    job = tiny.job(work, rows, steps=2, checkpoint_every=1)

    calls = iter(range(1000))

    def power_cut(*given):
        if given[0].training and next(calls) == 1:
            raise KeyboardInterrupt
        return job.objective(*given)

    work.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        engine.run(dataclasses.replace(job, objective=power_cut))
    assert [path.name for path in work.glob("step-*")] == ["step-00000001"]
    broken = trained(tmp_path / "broken", rows, checkpoint_every=1)
    assert (broken / "curve.tsv").read_text() == (whole / "curve.tsv").read_text()
    assert digests.of_folder(broken) == digests.of_folder(whole)


def test_no_preview_prompts_are_no_previews(tmp_path):
    folder = trained(tmp_path, tiny.data(tmp_path, prompts=()))
    assert models.load(folder).training.complete
    assert not (folder / "preview").exists()


def test_a_training_that_continues_clips_says_so_and_shows_held_out_ones_going_on(tmp_path):
    rows = tiny.data(tmp_path)
    model = models.load(trained(tmp_path, rows, context=1, buckets={tiny.CLIPS: {"share": 1.0, "batch": 2}}))
    process, _ = model.sampled()
    assert (process.conditioning, process.context) == ("context", 1)
    shown = load_file(next(iter(sorted((tmp_path / "model" / "preview").iterdir()))))["latents"]
    held_out = rows.batch(rows.rows(tiny.CLIPS, "validation")[:1].tolist()).clean
    assert torch.equal(shown[:, :, :1], held_out[:, :, :1])
    assert not torch.equal(shown[:, :, 1:], held_out[:, :, 1:])
    with pytest.raises(Refused, match="it continues clips; students of such teachers are not built yet"):
        students.require_teacher(model, rows.space)


def test_a_context_that_leaves_nothing_to_learn_is_refused(rows):
    for context in (2, 3):
        with pytest.raises(WrongUse, match=rf"context {context}: clips of .* have 2 latent frames at most"):
            trainings.teacher_contract(tiny.train_params(context=context), rows.space)


SCHEDULE = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize(("prediction", "zero"), [("v_prediction", True), ("epsilon", False)])
def test_a_training_on_a_schedule_is_shown_and_published_as_such(tmp_path, rows, prediction, zero):
    said: dict[str, Any] = {"prediction": prediction, "diffusion": {**SCHEDULE, "zero_terminal_snr": zero}}
    job = tiny.job(tmp_path / "work", rows, steps=2, **said)
    assert trainings.objective_name(job.process) == "denoising"
    job = dataclasses.replace(job, objective=trainings.objective(job.process))
    outcome = engine.run(job)
    trainings.publish(tmp_path / "model", job, outcome, stage="train@tiny", objective="denoising", base="base")
    model = models.load(tmp_path / "model")
    process, _ = model.sampled()
    assert process.prediction == prediction
    assert process.diffusion == contract.Diffusion(**said["diffusion"])
    shown = load_file(tmp_path / "model" / "preview" / "step-00000002.safetensors")["latents"]
    assert torch.isfinite(shown).all()
    assert shown.std() < 10  # an epsilon near pure noise would be divided by next to nothing
    with pytest.raises(Refused, match=f"it predicts {prediction}; students of such teachers are not built yet"):
        students.require_teacher(model, rows.space)


def test_a_training_is_known_by_what_it_predicts(rows):
    said = {"prediction": "v_prediction", "diffusion": {**SCHEDULE, "zero_terminal_snr": True}}
    plain, other = (trainings.teacher_contract(tiny.train_params(**more), rows.space) for more in ({}, said))
    assert [found.field for found in contract.differences(plain, other)] == ["process.prediction", "process.diffusion"]


def test_what_is_unsaid_leaves_every_digest_as_it_was():
    assert "prediction" not in tiny.train_params().model_dump()
    assert "diffusion" not in tiny.train_params().model_dump()
    assert contract.digest(tiny.train_params()) == "12bccda7e48dd8276b2c0c8b612bcd2f"


def test_a_tuned_training_predicts_what_its_start_did_or_what_it_says(tmp_path, rows):
    flow = trainings.teacher_contract(tiny.train_params(), rows.space)
    said = {"prediction": "v_prediction", "diffusion": {**SCHEDULE, "zero_terminal_snr": True}}
    learned = trainings.tuned_contract(tiny.tuned_params(tmp_path, **said), rows.space, flow)
    assert trainings.process_of(learned).prediction == "v_prediction"
    kept = trainings.tuned_contract(tiny.tuned_params(tmp_path), rows.space, learned)
    assert kept.process == learned.process
    back = trainings.tuned_contract(tiny.tuned_params(tmp_path, prediction="velocity"), rows.space, learned)
    assert back.process == flow.process


def test_a_training_says_the_rows_that_its_tokens_make(rows, tmp_path, capsys):
    buckets = {tiny.IMAGES: {"share": 3.0, "tokens": 20}, tiny.CLIPS: {"share": 1.0, "tokens": 20}}
    trainings.announce(tiny.job(tmp_path, rows, buckets=buckets))
    said = capsys.readouterr().out
    assert "75% of the steps are 5 x 1x16x16 (20 tokens); 25% of the steps are 2 x 5x16x16 (16 tokens)" in said


def test_an_early_end_is_said_and_written(tmp_path, rows, capsys):
    model = models.load(trained(tmp_path, rows, stop_at=1))
    assert not model.training.complete
    assert (model.training.steps_done, model.training.steps_planned) == (1, 2)
    assert "unfinished, 1 of 2 steps" in capsys.readouterr().out
    with pytest.raises(Refused, match="1 of 2 steps"):
        students.require_teacher(model, rows.space)


def test_a_teacher_of_another_latent_space_is_refused_naming_the_field(tmp_path, rows):
    teacher = models.load(trained(tmp_path, rows))
    students.require_teacher(teacher, rows.space)
    with pytest.raises(Refused, match="vae_digest"):
        students.require_teacher(teacher, tiny.space(vae_digest="c" * 32))


def test_a_teacher_with_guidance_folded_in_is_refused(tmp_path, rows):
    teacher = models.load(trained(tmp_path, rows))
    folded = students.contract(tiny.student_params(), rows, teacher)
    student = dataclasses.replace(teacher, contract=folded)
    with pytest.raises(Refused, match="applied twice"):
        students.require_teacher(student, rows.space)


@pytest.fixture
def pair(tmp_path, rows):
    """A teacher of two experts on the tiny space, guided by 4 and 3, its experts changing at .875."""
    one = models.load(tiny.model(tmp_path / "teacher"))
    process, sampled = one.sampled()
    meaning = one.contract.model_copy(
        update={
            "process": process.model_copy(update={"expert_boundary": 0.875}),
            "sampling": sampled.model_copy(update={"guidance": 4.0, "guidance_low": 3.0}),
        }
    )
    return dataclasses.replace(one, contract=meaning, low=tiny.network(seed=1))


def test_a_student_of_two_experts_is_one_network_that_knows_both_guidances(pair, rows):
    student = tiny.student_params(guidance=[4.0, 3.0])
    students.require_teacher(pair, rows.space)
    students.require_experts(pair, student)
    meaning = students.contract(student, rows, pair)
    assert meaning.process is not None
    assert meaning.sampling is not None
    assert meaning.process.expert_boundary is None
    assert (meaning.sampling.scales, meaning.sampling.guidance_form) == ((4.0, 3.0), "folded")


@pytest.mark.parametrize(("start", "role"), [(None, "transformer"), ("high_noise", "transformer"), ("low_noise", "_2")])
def test_a_student_of_two_experts_starts_from_the_one_that_params_name(pair, start, role):
    network, sources = students.begun(pair, tiny.student_params(guidance=[4.0, 3.0], start_expert=start))
    expert = pair.low if role == "_2" else pair.transformer
    name = "blocks.0.attn1.to_q.weight"
    assert network.state_dict()[name].equal(expert.state_dict()["blocks.1.attn1.to_q.weight"])
    assert sources[name] == f"transformer{role.removeprefix('transformer')}/blocks.1.attn1.to_q.weight"


def test_params_and_teacher_must_speak_of_the_same_number_of_experts(tmp_path, pair):
    one = models.load(tiny.model(tmp_path / "one"))
    students.require_experts(one, tiny.student_params())
    for teacher, settings, says in (
        (pair, {}, r"two experts, and the student says guidance: 2: .*guidance: \[4, 3\] as the teacher's contract"),
        (one, {"guidance": [4.0, 3.0]}, r"one network, and the student says guidance: \[4, 3\].*not there; give one"),
        (one, {"start_expert": "low_noise"}, "one network, and the student says start_expert: low_noise; leave it out"),
    ):
        with pytest.raises(Refused, match=says):
            students.require_experts(teacher, tiny.student_params(**settings))


def test_what_is_frozen_is_announced(tmp_path, rows, capsys):
    job = tiny.job(tmp_path, rows)
    trainings.announce(job)
    said = capsys.readouterr().out
    trainable = sum(p.numel() for p in job.network.parameters())
    assert f"trainable {trainable:,} / frozen 7 (VAE) + 5 (text) / total {trainable + 12:,}" in said


def test_a_contract_without_a_process_trains_nothing(tmp_path, rows):
    bare = contract.Contract(latent_space=rows.space)
    with pytest.raises(Refused, match="no process part"):
        trainings.process_of(bare)
    job = dataclasses.replace(tiny.job(tmp_path, rows), contract=bare)
    with pytest.raises(Exception, match="process part"):
        engine.run(job)
