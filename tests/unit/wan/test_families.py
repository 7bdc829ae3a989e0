import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from frostline.wan import configs, families, names
from frostline.wan.names import text_encoder as text_names

GOLDEN = Path(__file__).parents[2] / "golden" / "wan"
PUBLISHED = json.loads((GOLDEN / "keys.json").read_text())
RECORDED = json.loads((GOLDEN / "comfyui.json").read_text())  # what ComfyUI's code takes, and where that is read
BY_NAME = {family.name: family for family in families.FAMILIES}
PARTS: dict[str, tuple[names.Part, Any]] = {
    **{name: ("transformer", family.transformer.config()) for name, family in BY_NAME.items()},
    "vae 2.1": ("vae", families.VAE_21.config()),
    "vae 2.2": ("vae", families.VAE_22.config()),
    "umt5-xxl": ("text_encoder", families.UMT5_XXL.config()),
}


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    """Native names and shapes of every tensor, as published."""
    kept = PUBLISHED[name]
    found = {key: tuple(shape) for key, shape in kept["outside"].items()}
    for number in range(kept["blocks"]):
        found |= {f"blocks.{number}.{key}": tuple(shape) for key, shape in kept["block"].items()}
    return found


def module_of(part: names.Part, config: dict[str, Any]) -> Any:
    with torch.device("meta"):
        if part == "transformer":
            return WanTransformer3DModel.from_config(config)
        if part == "vae":
            return AutoencoderKLWan.from_config(config)
        return UMT5EncoderModel(UMT5Config(**config))


def test_all_that_was_published_is_here():
    assert PARTS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", PARTS)
def test_tensors_and_parameters_are_those_published(name):
    part, config = PARTS[name]
    module = module_of(part, config)
    ours = {key: tuple(t.shape) for key, t in module.state_dict().items() if key != text_names.TIED}
    native = names.to_native(part, ours)
    assert {native[key]: shape for key, shape in ours.items()} == shapes_of(name)
    assert sum(parameter.numel() for parameter in module.parameters()) == PUBLISHED[name]["parameters"]


@pytest.mark.parametrize("name", PARTS)
def test_names_go_both_ways(name):
    part, config = PARTS[name]
    ours = {key for key in module_of(part, config).state_dict() if key != text_names.TIED}
    there = names.to_diffusers(part, shapes_of(name))
    assert set(there.values()) == ours
    assert names.to_native(part, there.values()) == {new: old for old, new in there.items()}


@pytest.mark.parametrize("name", PARTS)
def test_a_configuration_is_read_off_the_shapes(name):
    part, config = PARTS[name]
    renamed = names.to_diffusers(part, shapes_of(name))
    shapes = {renamed[key]: shape for key, shape in shapes_of(name).items()}
    assert configs.of(part, shapes, None, Path("file")) == config


def test_a_transformer_is_told_to_its_family():
    for family in families.FAMILIES:
        assert families.matching(family.transformer.config(), family.experts) == family
    other = {**families.FAMILIES[0].transformer.config(), "num_layers": 29}
    assert families.matching(other, 1) is None


def test_a_family_is_found_by_its_repositories():
    for family in families.FAMILIES:
        assert all(families.of_hub(hub) == family for hub in family.hub)
    assert families.of_hub("someone/else") is None


@pytest.mark.parametrize(("version", "vae"), [("2.1", families.VAE_21), ("2.2", families.VAE_22)])
def test_statistics_of_latents_are_those_published(version, vae):
    published = json.loads((GOLDEN / "published.json").read_text())["statistics"][version]
    assert (list(vae.latents_mean), list(vae.latents_std)) == (published["mean"], published["std"])
    assert len(vae.latents_mean) == vae.z_dim


def test_a_configuration_of_old_is_completed():
    old = {"_class_name": "AutoencoderKLWan", "z_dim": 16, "base_dim": 96, "_diffusers_version": "0.33.0.dev0"}
    assert configs.completed("vae", old) == families.VAE_21.config()


def test_what_is_trained_and_where_experts_change():
    assert [name for name, family in BY_NAME.items() if not family.trained] == ["wan2.1-i2v-14b", "wan2.2-i2v-a14b"]
    boundaries = {name: family.expert_boundary for name, family in BY_NAME.items() if family.experts == 2}
    assert boundaries == {"wan2.2-t2v-a14b": 0.875, "wan2.2-i2v-a14b": 0.9}
    assert all(len(family.guidance) == family.experts for family in families.FAMILIES)
    assert [name for name, family in BY_NAME.items() if family.timesteps == "per token"] == ["wan2.2-ti2v-5b"]
