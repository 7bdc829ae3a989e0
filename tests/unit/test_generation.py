"""Samples depend on (weights, prompt, seed, index, bucket) alone, and what the contract forbids is refused."""

import dataclasses
import functools
from typing import Any

import pytest
import torch

from frostline import codec, generation, guidance, models, sampling, teachers, transformer
from frostline.errors import Refused, WrongUse
from frostline.generation import Draw
from frostline.wan import fetching
from tests.unit.wan import folders
from tests.unit.wan.test_fetching import family

__all__ = ["family"]

SEVEN, TWO = "a handwritten digit seven", "a handwritten digit two"
IMAGE: dict[str, Any] = {"frames": 1, "height": 32, "width": 32}


@pytest.fixture(scope="module")
def base_codec(tiny_base):
    return codec.Codec(tiny_base)


@pytest.fixture(scope="module")
def teacher(tiny_model, base_codec):
    return generation.Generator(models.load(tiny_model), base_codec)


@pytest.fixture(scope="module")
def student(tiny_student, base_codec):
    return generation.Generator(models.load(tiny_student), base_codec)


def test_pixels_have_the_size_asked_for(teacher):
    clip = teacher.sample([SEVEN, TWO], Draw(seed=0, frames=5, height=32, width=32))
    assert clip.shape == (2, 5, 32, 32, 3)
    assert clip.dtype == torch.uint8
    assert clip.float().std() > 1


@pytest.fixture(scope="module")
def continuing(tiny_continuing, base_codec):
    return generation.Generator(models.load(tiny_continuing), base_codec)


CLIP: dict[str, Any] = {"frames": 5, "height": 32, "width": 32}


def clips(count, frames=5):
    drawn = torch.Generator().manual_seed(frames)
    return torch.randint(0, 256, (count, frames, 32, 32, 3), dtype=torch.uint8, generator=drawn)


def test_a_clip_goes_on_from_what_is_given(continuing):
    context = continuing.contexts(clips(3))
    assert context.shape == (3, 16, 1, 4, 4)
    made = continuing.latents([SEVEN, TWO, SEVEN], Draw(seed=0, **CLIP), context)
    assert torch.equal(made[:, :, :1], context)
    other = continuing.latents([SEVEN, TWO, SEVEN], Draw(seed=0, **CLIP), context.flip(0))
    assert (made - other)[0, :, 1:].abs().max() > 1e-3
    assert torch.equal(made[1], other[1])  # the same clip in the middle, whatever its neighbours are
    alone = continuing.latents([TWO], Draw(seed=0, first=1, **CLIP), context[1:2])
    assert torch.equal(made[1], alone[0])
    assert continuing.sample([SEVEN], Draw(seed=0, **CLIP), context[:1]).shape == (1, 5, 32, 32, 3)


def test_a_context_is_the_beginning_of_the_whole_clip_s_latents(continuing):
    pixels = clips(2)
    whole = continuing.codec.normalise(continuing.codec.encode(pixels))
    torch.testing.assert_close(continuing.contexts(pixels), whole[:, :, :1], rtol=1e-4, atol=1e-4)


def test_pictures_of_a_model_that_continues_clips_need_nothing(continuing):
    assert continuing.sample([SEVEN], Draw(seed=0, **IMAGE)).shape == (1, 1, 32, 32, 3)


def test_a_context_is_neither_forgotten_nor_given_in_vain(continuing, teacher, make_model, base_codec, tmp_path):
    with pytest.raises(Refused, match=r"makes 5x32x32 from 1 given frame\(s\): give a clip to `frostline predict`"):
        continuing.latents([SEVEN], Draw(seed=0, **CLIP))
    context = continuing.contexts(clips(1))
    for generator, draw in ((teacher, Draw(seed=0, **CLIP)), (continuing, Draw(seed=0, **IMAGE))):
        with pytest.raises(WrongUse, match="a context of shape"):
            generator.latents([SEVEN], draw, context)
    with pytest.raises(WrongUse, match="a context of shape"):
        continuing.latents([SEVEN, TWO], Draw(seed=0, **CLIP), context)
    longer = generation.Generator(models.load(make_model(tmp_path / "m", context=2)), base_codec)
    with pytest.raises(WrongUse, match=r"1 frames: .* goes on from 5; give as many"):
        longer.contexts(clips(1, frames=1))


def test_neighbours_and_batch_borders_change_nothing(teacher):
    size = teacher.batch((1, 32, 32))
    many = teacher.latents([SEVEN] * (size + 3), Draw(seed=4, **IMAGE))
    alone = teacher.latents([SEVEN], Draw(seed=4, first=size + 1, **IMAGE))
    assert torch.equal(many[size + 1], alone[0])
    assert torch.equal(teacher.decode(many)[size + 1], teacher.decode(alone)[0])


def test_each_of_prompt_seed_and_index_matters(teacher):
    first = teacher.latents([SEVEN], Draw(seed=0, **IMAGE))
    others = [
        teacher.latents([TWO], Draw(seed=0, **IMAGE)),
        teacher.latents([SEVEN], Draw(seed=1, **IMAGE)),
        teacher.latents([SEVEN], Draw(seed=0, first=1, **IMAGE)),
    ]
    assert all((first - other).abs().max() > 1e-3 for other in others)


def test_guidance_from_outside_is_two_forwards_with_the_null_prompt(teacher):
    draw = generation.Draw(seed=2, **IMAGE)
    size = teacher.batch(draw.bucket)
    network, process = teacher.model.transformer, teacher.process
    velocity = guidance.guided(
        transformer.velocity_fn(network, teacher.texts([SEVEN] * size), process),
        transformer.velocity_fn(network, teacher.texts([""] * size), process),
        2.0,
    )
    with torch.inference_mode():
        wanted = sampling.sampler(teacher.sampling).sample(
            velocity, teacher.noise(1, draw).expand(size, -1, -1, -1, -1)
        )
    assert torch.equal(teacher.latents([SEVEN], draw)[0], wanted[0])


def test_folded_guidance_is_one_forward(student):
    calls = []
    handle = student.model.transformer.register_forward_hook(lambda *_: calls.append(1))
    student.latents([SEVEN], Draw(seed=0, steps=3, **IMAGE))
    handle.remove()
    assert len(calls) == 3


def test_a_negative_prompt_steers_where_guidance_is_applied(teacher):
    plain = teacher.latents([SEVEN], Draw(seed=0, **IMAGE))
    steered = teacher.latents([SEVEN], Draw(seed=0, negative_prompt=TWO, **IMAGE))
    assert (plain - steered).abs().max() > 1e-4


@pytest.fixture
def pair(tmp_path, tiny_base, family):
    """A generator of a fetched model of two experts, guided by 4 and 3, eight steps at shift 12."""
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "base")
    return generation.Generator(teachers.load(tmp_path / "base"), codec.Codec(tmp_path / "base"))


SMALL: dict[str, Any] = {"frames": 1, "height": 16, "width": 16, "steps": 8}


def served(pair, **settings):
    """How often each expert is asked for one sample."""
    asked = []
    for number, network in enumerate((pair.model.transformer, pair.model.low)):
        network.register_forward_hook(functools.partial(lambda number, *_: asked.append(number), number))
    pair.latents([SEVEN], Draw(seed=0, **SMALL, **settings))
    return asked.count(0), asked.count(1)


def test_two_experts_draw_each_at_its_own_sigmas_under_its_own_guidance(pair):
    found = pair.latents([SEVEN], Draw(seed=0, **SMALL))
    draw, size = Draw(seed=0, **SMALL), pair.batch((1, 16, 16))
    process, text, null = pair.process, pair.texts([SEVEN] * size), pair.texts([""] * size)
    noised = pair.noise(1, draw).expand(size, -1, -1, -1, -1)
    scheduler = sampling.unipc_scheduler(solver_order=2, shift=12.0)
    scheduler.set_timesteps(8)
    with torch.inference_mode():
        for timestep in scheduler.timesteps:
            sigma = timestep.double().expand(size) / 1000
            network, scale = (pair.model.transformer, 4.0) if timestep >= 875 else (pair.model.low, 3.0)
            said, away = (transformer.velocity_fn(network, words, process)(noised, sigma) for words in (text, null))
            noised = scheduler.step(away + scale * (said - away), timestep, noised, return_dict=False)[0]
    torch.testing.assert_close(found[0], noised[0], rtol=0, atol=1e-5)


def test_an_expert_is_asked_at_its_own_steps_only(pair):
    told = sampling.sampler(pair.sampling).told(8, 12.0)
    high = int((told >= 0.875).sum())
    assert 0 < high < 8
    assert served(pair) == (2 * high, 2 * (8 - high))


def test_an_expert_of_guidance_one_is_asked_once_a_step(pair):
    high = int((sampling.sampler(pair.sampling).told(8, 12.0) >= 0.875).sum())
    assert served(pair, guidance_low=1.0) == (2 * high, 8 - high)


@pytest.mark.parametrize(
    ("settings", "acts"),
    [
        ({}, (4.0, 3.0)),
        ({"guidance": 2.0}, (2.0, 2.0)),
        ({"guidance_low": 2.0}, (4.0, 2.0)),
        ({"guidance": 5.0, "guidance_low": 2.0}, (5.0, 2.0)),
    ],
)
def test_a_guidance_given_alone_is_that_of_both_experts(pair, settings, acts):
    told = pair.describe(Draw(seed=0, **SMALL, **settings))
    assert (told["guidance"], told["guidance_low"]) == acts
    high, low = acts
    found, wanted = (
        pair.latents([SEVEN], Draw(seed=0, **SMALL, **given))
        for given in (settings, {"guidance": high, "guidance_low": low})
    )
    assert torch.equal(found, wanted)


def test_a_guidance_of_an_expert_that_is_not_there_is_refused(teacher, student):
    for model in (teacher, student):
        with pytest.raises(Refused, match="guidance 3 of a low-noise expert: this model is one network"):
            model.latents([SEVEN], Draw(seed=0, guidance_low=3.0, **IMAGE))
    assert teacher.describe(Draw(seed=0, **IMAGE))["guidance_low"] is None


def test_a_student_of_two_experts_says_both_guidances_that_are_folded_in(make_model, base_codec, tmp_path):
    folded = {"guidance": 4.0, "guidance_low": 3.0, "guidance_form": "folded"}
    student = generation.Generator(models.load(make_model(tmp_path / "one", sampling=folded)), base_codec)
    told = student.describe(Draw(seed=0, **IMAGE))
    assert (told["guidance"], told["guidance_low"]) == (4.0, 3.0)
    with pytest.raises(Refused, match=r"guidance 4\.0 and 3\.0 is folded into the weights"):
        student.latents([SEVEN], Draw(seed=0, negative_prompt="a", **IMAGE))


def test_a_negative_prompt_of_the_contract_steers_until_another_is_named(teacher, make_model, base_codec, tmp_path):
    folder = make_model(tmp_path / "steered", sampling={"negative_prompt": TWO})
    steered = generation.Generator(models.load(folder), base_codec)
    for given, same in ((None, TWO), ("", ""), (SEVEN, SEVEN)):
        found = steered.latents([SEVEN], Draw(seed=0, negative_prompt=given, **IMAGE))
        assert torch.equal(found, teacher.latents([SEVEN], Draw(seed=0, negative_prompt=same, **IMAGE)))
        assert steered.describe(Draw(seed=0, negative_prompt=given, **IMAGE))["negative_prompt"] == same
    assert teacher.describe(Draw(seed=0, **IMAGE))["negative_prompt"] == ""


def test_text_is_padded_to_the_contracts_length(teacher):
    assert teacher.texts([SEVEN, "a"]).shape[:2] == (2, teacher.codec.latent_space.text_length)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"guidance": 2.0}, Refused, "folded into this model's weights"),
        ({"negative_prompt": "a"}, Refused, "negative prompt 'a': guidance 2.0 is folded"),
        ({"height": 64}, Refused, "trained on 1x32x32, 5x32x32"),
        ({"frames": 3}, WrongUse, "3 frames"),
        ({"shift": float("inf")}, WrongUse, "shift inf"),
        ({"shift": -1.0}, WrongUse, "shift -1"),
        ({"guidance": float("nan")}, WrongUse, "guidance nan"),
        ({"steps": 0}, WrongUse, "steps 0"),
        ({"steps": 10**9}, WrongUse, "1 to 1000"),
    ],
)
def test_what_the_contract_forbids_or_means_nothing(student, settings, error, says):
    values: dict[str, Any] = {"seed": 0, **IMAGE, **settings}
    with pytest.raises(error, match=says):
        student.latents([SEVEN], Draw(**values))


def test_steps_and_shift_of_a_few_step_student(make_model, base_codec, tmp_path):
    folder = make_model(tmp_path / "fast", sampling={"allowed_steps": (4,), "allowed_shifts": (5.0,)})
    fast = generation.Generator(models.load(folder), base_codec)
    fast.latents([SEVEN], Draw(seed=0, steps=4, shift=5.0, **IMAGE))
    with pytest.raises(Refused, match="4 steps only"):
        fast.latents([SEVEN], Draw(seed=0, steps=20, **IMAGE))
    with pytest.raises(Refused, match="shift 5 only"):
        fast.latents([SEVEN], Draw(seed=0, shift=3.0, **IMAGE))


def test_renoise_students_draw_fresh_noise_per_sample(make_model, base_codec, tmp_path):
    changes = {"sampler": "renoise", "rounds_timesteps": False, "guidance_form": "folded"}
    fast = generation.Generator(models.load(make_model(tmp_path / "renoise", sampling=changes)), base_codec)
    pair = fast.latents([SEVEN, SEVEN], Draw(seed=0, **IMAGE))
    assert torch.equal(fast.latents([SEVEN], Draw(seed=0, first=1, **IMAGE))[0], pair[1])


def test_a_base_with_another_vae_is_refused(tiny_model, other_base):
    with pytest.raises(Refused, match=r"latent_space\.vae_digest|vae_digest"):
        generation.Generator(models.load(tiny_model), codec.Codec(other_base))


@pytest.mark.parametrize("changed", [{}, {"negative_prompt": TWO}, {"guidance": 1.0}])
def test_once_all_texts_are_embedded_a_draw_asks_for_no_text_encoder(tiny_model, tiny_base, changed):
    draw = Draw(seed=0, **IMAGE, steps=1, **changed)
    expected = generation.Generator(models.load(tiny_model), codec.Codec(tiny_base)).sample([SEVEN], draw)
    lean = generation.Generator(models.load(tiny_model), codec.Codec(tiny_base))
    lean.embed([SEVEN], draw)
    lean.codec.release("text_encoder")
    assert torch.equal(lean.sample([SEVEN], draw), expected)
    assert "text_encoder" not in vars(lean.codec)


def test_how_a_cache_was_encoded_and_stored_does_not_make_its_base_another(make_model, tiny_base, tmp_path):
    model = models.load(make_model(tmp_path / "teacher"))
    rounded = {"encode_dtype": "bfloat16", "stored_dtype": "float32"}
    space = model.contract.latent_space.model_copy(update=rounded)
    model = dataclasses.replace(model, contract=model.contract.model_copy(update={"latent_space": space}))
    generation.require_base(model, codec.Codec(tiny_base))  # does not raise
    other = model.contract.model_copy(update={"latent_space": space.model_copy(update={"vae_digest": "f" * 32})})
    with pytest.raises(Refused, match="vae_digest"):
        generation.require_base(dataclasses.replace(model, contract=other), codec.Codec(tiny_base))


def test_the_base_is_found_above_the_model(make_model, tiny_base, tmp_path):
    folder = make_model(tmp_path / "models" / "teacher")
    model = models.load(folder)
    assert generation.base_folder(model) == tiny_base
    moved = models.Model(
        folder=folder,
        contract=model.contract,
        transformer=model.transformer,
        training=model.training,
        base=model.base.model_copy(update={"path": "assets/tiny"}),
    )
    with pytest.raises(WrongUse, match="--base"):
        generation.base_folder(moved)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "tiny").symlink_to(tiny_base)
    assert generation.base_folder(moved) == tmp_path / "assets" / "tiny"


def test_the_default_size_is_a_trained_one(teacher):
    assert teacher.default_bucket() == (1, 32, 32)
    assert teacher.default_bucket(5) == (5, 32, 32)
    with pytest.raises(Refused, match="trained on 1x32x32, 5x32x32"):
        teacher.default_bucket(9)
