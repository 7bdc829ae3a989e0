"""A training that goes on from a model begins at its weights and their loss; what makes no sense is refused."""

import dataclasses
import signal

import pytest
import torch

from frostline import codec, contract, digests, engine, generation, models, starts, students, teachers, trainings
from frostline.errors import Refused, WrongUse
from frostline.objectives import denoising, flow_matching
from frostline.wan import families, fetching
from tests import tiny
from tests.unit.wan import folders
from tests.unit.wan.test_fetching import family

__all__ = ["family"]
BUCKETS = (tiny.IMAGES, tiny.CLIPS)


@pytest.fixture
def single(monkeypatch, family):
    """The small model with one expert counts as published."""
    made = family.model_copy(update={"expert_boundary": None, "guidance": (5.0,)})
    monkeypatch.setattr(families, "FAMILIES", (made,))
    return made


@pytest.fixture
def base(tmp_path, tiny_base, single):
    """A small published model, fetched."""
    fetching.fetch(str(folders.native(tmp_path / "published", tiny_base)), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def rows(tmp_path, base):
    """Latents of its space."""
    return tiny.data(tmp_path, latent_space=codec.latent_space(base, stored_dtype="float32"))


@pytest.fixture(autouse=True)
def signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def job(folder, rows, start, **changed):
    """A training that goes on from a folder, as the stage makes it."""
    run = tiny.tuned_params(start, **changed)
    begun = starts.load(run.start, rows.space, run.buckets)
    meaning = trainings.tuned_contract(run, rows.space, begun.contract)
    process = trainings.process_of(meaning)
    learning = flow_matching if process.prediction == "velocity" else denoising
    folder.mkdir(parents=True, exist_ok=True)
    return engine.Job(
        name="tune tiny",
        network=begun.transformer,
        objective=learning.objective(process),
        dataset=rows,
        params=run,
        contract=meaning,
        identity={"start": begun.training.weights_digest},
        work=folder,
    )


def published(folder, made, outcome, base):
    digest = made.identity["start"]
    trainings.publish(folder, made, outcome, stage="tune@tiny", objective="flow_matching", base=str(base), start=digest)
    return folder


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_it_begins_at_the_published_weights_and_at_exactly_their_loss(tmp_path, base, rows):
    made = job(tmp_path / "work", rows, base, steps=1, validate_every={"steps": 1})
    there = teachers.load(base, torch.float32).transformer
    assert same(there.state_dict(), made.network.state_dict())
    ours, theirs = tiny.losses_beside(made, there)
    assert torch.equal(ours, theirs)
    assert not same(there.state_dict(), made.network.state_dict())


def test_the_average_begins_at_those_weights(tmp_path, base, rows):
    made = job(tmp_path / "work", rows, base, steps=1, ema_decay=0.9)
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    after = engine.run(made).network.state_dict()
    moved = made.network.state_dict()
    for name, tensor in before.items():  # the first decay is 1 / 10
        assert torch.allclose(after[name], tensor.lerp(moved[name], 0.9), atol=1e-6), name


def test_masters_are_float32_and_free_to_move_whatever_the_files_hold(tmp_path, base, rows):
    root = tmp_path / "published"
    halved = {name: tensor.bfloat16() for name, tensor in folders.read(root).items()}
    folders.shards(root, halved)
    fetching.fetch(str(root), tmp_path / "halved")
    begun = starts.load(tmp_path / "halved", rows.space, BUCKETS).transformer
    assert {parameter.dtype for parameter in begun.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in begun.parameters())
    assert same(folders.in_diffusers("transformer", {n: t.float() for n, t in halved.items()}), begun.state_dict())


def test_it_learns(tmp_path, base, rows):
    outcome = engine.run(job(tmp_path / "work", rows, base, steps=40, validate_every={"steps": 20}))
    first, *_, last = [loss for point in outcome.progress.curve for name, loss in point.items() if name == "loss"]
    assert last < 0.9 * first


def test_stopped_and_gone_on_it_is_the_same_bytes(tmp_path, base, rows):
    whole = job(tmp_path / "whole", rows, base, checkpoint_every=2)
    straight = published(tmp_path / "models" / "straight", whole, engine.run(whole), base)
    broken = job(tmp_path / "broken", rows, base, checkpoint_every=2)

    def power_cut(*given):
        if list(broken.work.glob("step-*")):
            raise KeyboardInterrupt
        return broken.objective(*given)

    with pytest.raises(KeyboardInterrupt):
        engine.run(dataclasses.replace(broken, objective=power_cut))
    again = job(tmp_path / "broken", rows, base, checkpoint_every=2)
    gone_on = published(tmp_path / "models" / "again", again, engine.run(again), base)
    assert digests.of_folder(gone_on) == digests.of_folder(straight)


def test_a_checkpoint_of_another_start_is_refused(tmp_path, base, rows):
    made = job(tmp_path / "work", rows, base, steps=2, checkpoint_every=1)
    engine.run(made)
    other = dataclasses.replace(made, identity={"start": "0" * 32})
    with pytest.raises(Refused, match="start: "):
        engine.run(other)


def test_what_it_makes_is_a_model_that_loads_samples_and_says_what_it_went_on_from(tmp_path, base, rows):
    made = job(tmp_path / "work", rows, base, shift=4.0)
    folder = published(tmp_path / "models" / "tuned", made, engine.run(made), base)
    tuned, start = models.load(folder), teachers.load(base)
    assert tuned.training.start_digest == start.training.weights_digest
    assert tuned.training.complete
    process, sampled = tuned.sampled()
    assert (process.patch_size, process.prediction, process.shift) == ((1, 2, 2), "velocity", 4.0)
    assert process.buckets == ((1, 16, 16), (5, 16, 16))
    assert (sampled.guidance, sampled.guidance_form, sampled.teacher_digest) == (2.0, "external", None)
    generator = generation.Generator(tuned, codec.Codec(base))
    pixels = generator.sample(["a handwritten digit seven"], generation.Draw(seed=0, frames=5, height=16, width=16))
    assert pixels.shape == (1, 5, 16, 16, 3)
    students.require_teacher(tuned, rows.space)


def test_a_tuned_model_can_be_gone_on_from_and_what_has_no_start_says_none(tmp_path, base, rows):
    made = job(tmp_path / "work", rows, base, steps=2)
    folder = published(tmp_path / "models" / "tuned", made, engine.run(made), base)
    again = starts.load(folder, rows.space, BUCKETS)
    assert again.training.weights_digest != made.identity["start"]
    assert same(models.load(folder).transformer.state_dict(), again.transformer.state_dict())
    fresh = models.facts(tiny.model(tmp_path / "models" / "fresh"))[2]
    assert "start_digest" not in fresh.stated()
    assert made.network.config["qk_norm"] == again.transformer.config["qk_norm"]


def test_training_moves_no_file_of_its_start(tmp_path, rows, make_model):
    folder = make_model(tmp_path / "models" / "start")
    space = models.facts(folder)[0].latent_space
    before = digests.of_folder(folder)
    network = starts.load(folder, space, [tiny.IMAGES]).transformer
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert digests.of_folder(folder) == before
    assert any(tensor.any() for tensor in models.load(folder).transformer.state_dict().values())


def test_a_start_that_predicts_v_goes_on_predicting_v(tmp_path, rows):
    schedule = contract.Diffusion(betas="linear", beta_start=1e-4, beta_end=0.02, zero_terminal_snr=True)
    learned = tiny.process(prediction="v_prediction", diffusion=schedule, buckets=((9, 32, 32),))
    start = contract.Contract(latent_space=rows.space, process=learned)
    process = trainings.process_of(trainings.tuned_contract(tiny.tuned_params(tmp_path), rows.space, start))
    assert (process.prediction, process.diffusion) == ("v_prediction", schedule)
    assert process.buckets == ((1, 16, 16), (5, 16, 16))


def test_one_timestep_for_a_clip_is_the_same_as_one_for_each_of_its_tokens(base, rows):
    """Wan2.2's 5B takes a timestep per token: without an image they are all the same, so one a row is enough."""
    network = starts.load(base, rows.space, BUCKETS).transformer
    batch = rows.batch(rows.rows(tiny.CLIPS, "train")[:2].tolist())
    timestep = torch.tensor([312.0, 875.0])
    tokens = batch.clean[0, 0].numel() // 4
    with torch.no_grad():
        (one,) = network(batch.clean, timestep, batch.text, return_dict=False)
        (each,) = network(batch.clean, timestep[:, None].expand(-1, tokens), batch.text, return_dict=False)
    assert one.abs().max() > 0.1
    assert torch.allclose(one, each, atol=1e-5)


def test_other_latents_are_refused_naming_every_field_and_the_remedy(base, tiny_model):
    for folder in (base, tiny_model):
        with pytest.raises(Refused) as caught:
            starts.load(folder, tiny.space(), BUCKETS)
        said = str(caught.value)
        for word in (
            "vae_digest: ",
            "text_encoder_digest: ",
            "z_dim: 4 (the latents) against 16",
            "cache with the base",
        ):
            assert word in said


def test_latents_that_are_no_whole_patches_are_refused_with_the_sides_that_are(base, rows):
    with pytest.raises(Refused, match=r"bucket 1x24x24: its latents are 1x3x3 .* multiples of 16x16 pixels"):
        starts.load(base, rows.space, ["1x24x24"])


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        ({"guidance_form": "folded"}, "guidance 2 is folded into its weights, and flow matching would train it out"),
        ({"sampler": "renoise", "sigmas": (1.0, 0.5, 0.0), "allowed_steps": (2,), "steps": 2}, "few steps .renoise, 2"),
        ({"sampler": "flow_map"}, "few steps .flow_map"),
        ({"allowed_steps": (4,)}, "few steps .unipc, 4"),
    ],
)
def test_what_flow_matching_would_train_out_again_is_refused(tmp_path, make_model, sampling, says):
    folder = make_model(tmp_path / "student", sampling=sampling)
    with pytest.raises(Refused, match=f"{says}.*tune the teacher it learned from"):
        starts.load(folder, models.facts(folder)[0].latent_space, BUCKETS)


def test_an_unfinished_start_and_none_at_all_are_refused(tmp_path, make_model):
    folder = make_model(tmp_path / "model", steps_done=3)
    with pytest.raises(Refused, match="unfinished, 3 of 10 steps"):
        starts.load(folder, models.facts(folder)[0].latent_space, BUCKETS)
    with pytest.raises(WrongUse, match=r"nowhere: no such folder; .*frostline fetch"):
        starts.load(tmp_path / "nowhere", tiny.space(), BUCKETS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongUse, match=r"empty: has no contract\.json: .*with its VAE and text encoder"):
        starts.load(tmp_path / "empty", tiny.space(), BUCKETS)


def test_two_experts_are_refused_because_one_network_is_trained(tmp_path, tiny_base, family):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "base")
    with pytest.raises(Refused, match=r"two experts, .* and one network is trained here"):
        starts.load(tmp_path / "base", tiny.space(), BUCKETS)


def test_what_is_audited_only_is_refused_and_so_is_what_nobody_knows(tmp_path, tiny_base, single, monkeypatch):
    made = single.model_copy(update={"trained": False})
    monkeypatch.setattr(families, "FAMILIES", (made,))
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base)), tmp_path / "audited")
    with pytest.raises(Refused, match="small is loaded and audited only"):
        starts.load(tmp_path / "audited", tiny.space(), BUCKETS)
    monkeypatch.setattr(families, "FAMILIES", ())
    fetching.fetch(str(tmp_path / "model"), tmp_path / "unknown")
    with pytest.raises(Refused, match="what it predicts is unknown"):
        starts.load(tmp_path / "unknown", tiny.space(), BUCKETS)


def test_a_start_that_was_changed_since_it_was_fetched_is_refused(base, rows):
    (base / "scheduler" / "scheduler_config.json").write_text("{}")
    with pytest.raises(Refused, match=r"scheduler_config\.json: has the digest"):
        starts.load(base, rows.space, BUCKETS)
