"""An exported folder under the stock pipeline gives our pixels."""

import ast
import dataclasses
import re

import numpy as np
import pytest

from frostline import codec, contract, export, generation, models
from frostline.errors import Refused, WrongUse

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
