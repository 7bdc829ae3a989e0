"""An exported folder under the stock pipeline gives our pixels."""

import ast
import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch

from frostline import codec, contract, export, generation, models, schedule, teachers
from frostline.errors import Refused, WrongUse
from frostline.wan import fetching
from tests.unit.wan import folders
from tests.unit.wan.test_fetching import family

__all__ = ["family"]

PROMPT = "a handwritten digit seven"


@pytest.mark.parametrize("kind", ["tiny_model", "tiny_student"])
@pytest.mark.parametrize("frames", [1, 5])
def test_the_stock_pipeline_gives_our_pixels(kind, frames, tiny_base, tmp_path, request):
    from diffusers import WanPipeline

    model = models.load(request.getfixturevalue(kind))
    export.export(model, tiny_base, tmp_path / "out")
    pipeline = WanPipeline.from_pretrained(tmp_path / "out")
    pipeline.set_progress_bar_config(disable=True)
    call = export.call(*model.sampled(), model.contract.latent_space.text_length) | {"num_frames": frames}

    generator = generation.Generator(model, codec.Codec(tiny_base))
    draw = generation.Draw(seed=3, frames=frames, height=32, width=32)
    ours = generator.codec.decode_float(generator.latents([PROMPT], draw)).numpy()
    [stock] = pipeline(PROMPT, latents=generator.noise(1, draw), return_dict=False, **call)
    assert stock.shape == (1, frames, 32, 32, 3)
    assert np.abs(ours - stock).max() < 1e-4
    assert ours.std() > 0.01


@pytest.fixture
def pair(tmp_path, tiny_base, family):
    """A fetched model of two experts."""
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "pair")
    return teachers.load(tmp_path / "pair")


@pytest.mark.parametrize("frames", [1, 5])
def test_the_stock_pipeline_gives_the_pixels_of_two_experts(frames, pair, tmp_path):
    """The same noise, boundary .875, each expert under its own guidance: as exported, and as the card says to call."""
    from diffusers import WanPipeline

    export.export(pair, pair.folder, tmp_path / "out")
    dtypes = dict.fromkeys(("transformer", "transformer_2", "vae"), torch.float32) | {"text_encoder": torch.bfloat16}
    load: Any = WanPipeline.from_pretrained
    pipeline = load(tmp_path / "out", dtype=dtypes)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.config.boundary_ratio == 0.875
    process, sampled = pair.sampled()
    call = export.call(process, sampled, pair.contract.latent_space.text_length)
    assert (call["guidance_scale"], call["guidance_scale_2"]) == (4.0, 3.0)
    sized = call | {"num_frames": frames, "height": 32, "width": 32, "num_inference_steps": 8}

    generator = generation.Generator(pair, codec.Codec(pair.folder))
    draw = generation.Draw(seed=3, frames=frames, height=32, width=32, steps=8)
    ours, noise = generator.latents([PROMPT], draw), generator.noise(1, draw)
    [stock] = pipeline(PROMPT, latents=noise, output_type="latent", return_dict=False, **sized)
    assert (ours - stock).abs().max() < 1e-4
    assert ours.std() > 0.1
    [pixels] = pipeline(PROMPT, latents=noise, return_dict=False, **sized)
    assert np.abs(generator.codec.decode_float(ours).numpy() - pixels).max() < 1e-4
    for wrong in ({"guidance_scale_2": 4.0}, {"guidance_scale": 3.0}):
        changed: dict[str, Any] = {**sized, **wrong}
        [other] = pipeline(PROMPT, latents=noise, output_type="latent", return_dict=False, **changed)
        assert (ours - other).abs().max() > 1e-3


def test_the_card_of_two_experts_says_which_serves_where(pair, tmp_path):
    export.export(pair, pair.folder, tmp_path / "out")
    card = (tmp_path / "out" / export.CARD).read_text()
    assert "guidance_scale=4.0,\n    guidance_scale_2=3.0," in card
    assert "num_frames" not in card  # no size is recorded
    kinds = "'transformer': torch.float32, 'transformer_2': torch.float32, 'text_encoder': torch.bfloat16"
    assert f"torch_dtype={{{kinds}, 'vae': torch.float32}})" in card
    for line in (
        "| guidance | 4 and 3, applied by the pipeline |",
        "| experts | `transformer` from sigma 0.875 on, `transformer_2` below, each under its guidance |",
        "| training | elsewhere: these are published weights |",
    ):
        assert f"\n{line}\n" in card
    assert not [word for word in ("data digest", "teacher digest", "in the weights' metadata") if word in card]


def test_two_experts_of_which_the_pipeline_would_guide_none_are_refused(pair, tmp_path):
    assert pair.contract.sampling is not None
    for scales, says in (((1.0, 3.0), "guidance 3 of the low-noise expert"), ((4.0, 0.5), "guidance 0.5 is below 1")):
        sampled = pair.contract.sampling.model_copy(update=dict(zip(("guidance", "guidance_low"), scales, strict=True)))
        model = dataclasses.replace(pair, contract=pair.contract.model_copy(update={"sampling": sampled}))
        with pytest.raises(Refused, match=says):
            export.export(model, pair.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_student_of_two_experts_is_called_at_guidance_1_alone(make_model, tmp_path):
    folded = {"guidance": 4.0, "guidance_low": 3.0, "guidance_form": "folded"}
    model = models.load(make_model(tmp_path / "student", sampling=folded))
    call = export.call(*model.sampled(), 12)
    assert (call["guidance_scale"], "guidance_scale_2" in call) == (1.0, False)
    assert "| guidance | 4 and 3, folded into the weights: call with 1 |" in export.card(model, "x", *model.sampled())


def test_the_card_states_the_call_and_the_contract_travels_along(tiny_model, tiny_base, tmp_path):
    model = models.load(tiny_model)
    export.export(model, tiny_base, tmp_path / "out")
    card = (tmp_path / "out" / export.CARD).read_text()
    [code] = re.findall(r"```python\n(.*?)```", card, re.S)
    [made] = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and len(node.keywords) > 2]
    stated = {keyword.arg: ast.literal_eval(keyword.value) for keyword in made.keywords}
    assert stated == {
        "negative_prompt": "",
        "num_frames": 1,
        "height": 32,
        "width": 32,
        "num_inference_steps": 4,
        "guidance_scale": 2.0,
        "max_sequence_length": 12,
    }
    assert model.training.weights_digest in card
    assert contract.load(tmp_path / "out") == model.contract


@pytest.mark.parametrize(("form", "called_with"), [("external", "blurred"), ("folded", "")])
def test_the_card_says_what_guidance_steers_away_from(form, called_with, make_model, tmp_path):
    changed = {"guidance_form": form, "negative_prompt": "blurred"}
    model = models.load(make_model(tmp_path / "model", sampling=changed))
    card = export.card(model, "x", *model.sampled())
    assert f"    negative_prompt={called_with!r},\n" in card
    assert "\n| guidance steers away from | 'blurred' |\n" in card
    plain = models.load(make_model(tmp_path / "plain", sampling={"guidance_form": form}))
    assert "away from" not in export.card(plain, "x", *plain.sampled())


def test_the_card_names_what_a_model_went_on_from_where_one_did(tiny_model):
    model = models.load(tiny_model)
    assert "went on from" not in export.card(model, "plain", *model.sampled())
    tuned = dataclasses.replace(model, training=model.training.model_copy(update={"start_digest": "5" * 32}))
    assert f"\n| went on from the weights | `{'5' * 32}` |\n| VAE digest |" in export.card(
        tuned, "tuned", *model.sampled()
    )


def test_the_card_says_what_training_there_was(make_model, tmp_path):
    merged = {"stage": "merge", "steps_planned": 0, "steps_done": 0}
    for facts, says in (
        ({}, "| training | flow_matching, 10 of 10 steps, EMA 0.99 |"),
        (merged, "| training | none of these weights as they are (merge) |"),
    ):
        model = models.load(make_model(tmp_path / "model", **facts))
        assert says in export.card(model, "x", *model.sampled())


def test_a_student_is_called_at_guidance_1(tiny_student):
    model = models.load(tiny_student)
    assert export.call(*model.sampled(), 12)["guidance_scale"] == 1.0


def test_no_file_says_where_it_was_made(tiny_model, tiny_base, tmp_path):
    export.export(models.load(tiny_model), tiny_base, tmp_path / "out")
    texts = [file.read_text() for file in (tmp_path / "out").rglob("*.json")]
    assert not [text for text in texts if str(tiny_base) in text or str(tmp_path) in text]


def test_an_existing_folder_stays_as_it_is(tiny_model, tiny_base, tmp_path):
    with pytest.raises(WrongUse, match="exists"):
        export.export(models.load(tiny_model), tiny_base, tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"sampler": "euler", "rounds_timesteps": False}, "'euler' without"), ({"guidance": 0.5}, "guidance 0.5")],
)
def test_what_the_stock_pipeline_cannot_do_is_refused(make_model, tiny_base, tmp_path, changes, says):
    model = models.load(make_model(tmp_path / "model", sampling=changes))
    with pytest.raises(Refused, match=says):
        export.export(model, tiny_base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_base_is_refused_and_nothing_written(tiny_model, other_base, tmp_path):
    with pytest.raises(Refused, match="vae_digest"):
        export.export(models.load(tiny_model), other_base, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_continues_clips_is_no_wan_pipeline(tiny_continuing, tiny_base, tmp_path):
    with pytest.raises(Refused, match="it continues clips, and the stock WanPipeline makes them from words alone"):
        export.export(models.load(tiny_continuing), tiny_base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_flow_map_is_right_under_the_stock_call_in_any_of_its_steps(make_model, tiny_base, tmp_path, steps):
    sigmas = schedule.grid(4, 3.0)[:-1].tolist()
    few = {"sampler": "flow_map", "rounds_timesteps": False, "steps": 4, "allowed_steps": [1, 2, 4], "shift": 3.0}
    folded = {"guidance_form": "folded", "allowed_shifts": [3.0], "sigmas": sigmas}
    model = models.load(make_model(tmp_path / "few", sampling={**few, **folded}))
    export.export(model, tiny_base, tmp_path / "out")
    assert "from diffusers import AnyFlowPipeline\n" in (tmp_path / "out" / export.CARD).read_text()
    from diffusers import AnyFlowPipeline

    pipeline = AnyFlowPipeline.from_pretrained(tmp_path / "out")
    pipeline.set_progress_bar_config(disable=True)
    process, sampled = model.sampled()
    call = export.call(process, sampled, model.contract.latent_space.text_length) | {"num_inference_steps": steps}

    generator = generation.Generator(model, codec.Codec(tiny_base))
    draw = generation.Draw(seed=3, frames=5, height=32, width=32, steps=steps)
    ours, noise = generator.latents([PROMPT], draw), generator.noise(1, draw)
    call |= {"num_frames": 5, "height": 32, "width": 32}
    [stock] = pipeline(PROMPT, latents=noise, output_type="latent", return_dict=False, **call)
    assert (ours - stock).abs().max() < 1e-4
    assert ours.std() > 0.1
    with pytest.raises(Refused, match="trained for 1, 2, 4 steps only"):
        generator.latents([PROMPT], dataclasses.replace(draw, steps=3))
