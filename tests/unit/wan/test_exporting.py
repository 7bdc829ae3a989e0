import json
from pathlib import Path

import pytest
import torch

from frostline import contract as contracts
from frostline import digests, weights
from frostline.wan import exporting, loading, names, rewriting
from tests import tiny
from tests.golden.wan import cases, small
from tests.unit.wan import folders
from tests.unit.wan.test_families import BY_NAME, module_of, shapes_of
from tests.unit.wan.test_loading import load, source


def test_native_to_diffusers_and_back_every_bit_stays(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    for role in ("transformer", "vae", "text_encoder"):
        found = loading.plan(source(root, role))
        rewriting.to_diffusers(found, tmp_path / role)
        there = folders.read(tmp_path / role)
        rewriting.to_native(found.source.part, there, tmp_path / f"{role}.safetensors", {})
        with weights.opened(tmp_path / f"{role}.safetensors") as file:
            back = {name: file.read(name).clone() for name in file.kinds}
        expected: dict[str, torch.Tensor] = {}
        for path in found.source.files:
            with weights.opened(path) as file:
                expected |= {name: file.read(name).clone() for name in file.kinds}
        assert folders.same_bits(back, expected)


def test_one_file_carries_its_contract_and_is_loaded_again(tmp_path, tiny_base):
    network = load(folders.native(tmp_path / "model", tiny_base))
    meaning = contracts.Contract(latent_space=tiny.space())
    path = tmp_path / "exported.safetensors"
    exporting.write(network, meaning, path)
    with weights.opened(path) as file:
        assert file.metadata[contracts.METADATA] == digests.canonical(meaning.model_dump(mode="json"))
    again = load(path)
    assert folders.same_bits(dict(again.state_dict()), dict(network.state_dict()))
    assert {**again.config} == {**network.config}


@pytest.mark.parametrize("name", BY_NAME)
def test_published_shapes_load_in_comfyui(name):
    """Its WanModel has the published names and shapes (comfy/ldm/wan/model.py at 01c4fa4), and is built from shapes."""
    config = BY_NAME[name].transformer.config()
    assert exporting.unlike_comfyui(config) == []
    ours = {key: tuple(t.shape) for key, t in module_of("transformer", config).state_dict().items()}
    native = {new: ours[old] for old, new in names.to_native("transformer", ours).items()}
    assert native == shapes_of(name)
    assert built_by_comfyui(native) == {
        "model_type": "i2v" if BY_NAME[name].transformer.image_dim else "t2v",
        "dim": BY_NAME[name].transformer.heads * 128,
        "num_heads": BY_NAME[name].transformer.heads,
        "ffn_dim": BY_NAME[name].transformer.ffn_dim,
        "num_layers": BY_NAME[name].transformer.layers,
        "in_dim": BY_NAME[name].transformer.in_channels,
        "out_dim": BY_NAME[name].transformer.out_channels,
    }


def built_by_comfyui(native):
    """What its model detection reads off a file's tensors (as recorded; comfy/model_detection.py)."""
    dim = native["head.modulation"][-1]
    return {
        "model_type": "i2v" if "img_emb.proj.0.bias" in native else "t2v",
        "dim": dim,
        "num_heads": dim // 128,
        "ffn_dim": native["blocks.0.ffn.0.weight"][0],
        "num_layers": len({name.split(".")[1] for name in native if name.startswith("blocks.")}),
        "in_dim": native["patch_embedding.weight"][1],
        "out_dim": native["head.head.weight"][0] // 4,
    }


def test_what_comfyui_would_not_load_is_said(tmp_path: Path):
    config = small.transformer_config("high-noise")
    network = small.load(small.write(tmp_path / "m.safetensors", "transformer", config, 1))
    assert exporting.write(network, None, tmp_path / "out.safetensors") == [
        f"attention_head_dim is {cases.WIDTH // cases.HEADS}, not 128",
        f"freq_dim is {cases.FREQ}, not 256",
        f"text_dim is {cases.TEXT}, not 4096",
    ]
    with weights.opened(tmp_path / "out.safetensors") as file:
        assert json.loads(file.metadata["frostline.config"])["num_layers"] == cases.LAYERS
