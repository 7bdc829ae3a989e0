import dataclasses
import json

import pytest
import torch

from frostline import contract as contracts
from frostline import digests, native, origins
from frostline.errors import Refused, WrongUse
from frostline.wan import configs, families, fetching, layouts, loading
from tests.golden.wan import small
from tests.unit.test_teachers import family
from tests.unit.wan import folders
from tests.unit.wan.test_comfyui import published

__all__ = ["family"]

SMALL = families.Transformer(heads=1, ffn_dim=16, layers=1, in_channels=16, out_channels=16)
BUCKET = (5, 64, 96)


def model(path, *, buckets=(BUCKET,), **sampling):
    """One file of a transformer that ComfyUI loads, with its contract in its metadata."""
    contract = published(**sampling)
    assert contract.process is not None
    contract = contract.model_copy(update={"process": contract.process.model_copy(update={"buckets": buckets})})
    stated = {
        contracts.METADATA: digests.canonical(contract.model_dump(mode="json")),
        configs.METADATA: digests.canonical(SMALL.config()),
    }
    folders.write(path, small.native("transformer", SMALL.config(), 1), stated)
    return origins.find(path)


def test_a_workflow_stands_beside_the_file(tmp_path):
    written = native.write(model(tmp_path / "m.safetensors", steps=20, guidance=3.0), tmp_path / "out.safetensors")
    assert written.workflow is not None
    assert written.workflow == tmp_path / "out.workflow.json"
    assert (written.unlike, written.unsuited) == ((), ())
    nodes = json.loads(written.workflow.read_text())
    [sampler] = [node["inputs"] for node in nodes.values() if node["class_type"] == "SamplerCustom"]
    [steps] = [node["inputs"] for node in nodes.values() if node["class_type"] == "BasicScheduler"]
    [size] = [node["inputs"] for node in nodes.values() if node["class_type"] == "EmptyHunyuanLatentVideo"]
    [loader] = [node["inputs"] for node in nodes.values() if node["class_type"] == "UNETLoader"]
    assert (steps["steps"], sampler["cfg"], loader["unet_name"]) == (20, 3.0, "out.safetensors")
    assert (size["length"], size["height"], size["width"]) == BUCKET
    assert "SaveAnimatedWEBP" in {node["class_type"] for node in nodes.values()}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"steps": 4, "allowed_steps": (4,)}, "for 4 steps of"),
        ({"buckets": None}, "no size is recorded"),
    ],
)
def test_no_workflow_stands_where_none_is_right(tmp_path, facts, reason):
    written = native.write(model(tmp_path / "m.safetensors", **facts), tmp_path / "out.safetensors")
    assert (written.workflow, written.unlike) == (None, ())
    [said] = written.unsuited
    assert reason in said
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.safetensors", "out.safetensors"]


def test_a_model_that_does_not_load_there_gets_none_either(tmp_path, tiny_model):
    written = native.write(origins.find(tiny_model), tmp_path / "out.safetensors")
    assert written.workflow is None
    assert any(line.startswith("attention_head_dim") for line in written.unlike)
    assert [file.name for file in tmp_path.iterdir()] == ["out.safetensors"]


def test_two_experts_become_two_files_and_one_workflow(tmp_path, tiny_base, family, monkeypatch):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "base")
    origin = origins.find(tmp_path / "base")
    monkeypatch.setattr(native.comfyui, "unlike", lambda config: [])
    assert origin.contract is not None
    contract = origin.contract.model_copy(update={"latent_space": published().latent_space})
    written = native.write(dataclasses.replace(origin, contract=contract), tmp_path / "out" / "m.safetensors")
    assert [file.name for file in written.files] == ["m-high-noise.safetensors", "m-low-noise.safetensors"]
    for file, seed in zip(written.files, (1, 2), strict=True):
        [source] = layouts.found(file).sources.values()
        expected = small.native("transformer", folders.transformer_config(), seed)
        found = dict(loading.load(source, torch.float32).state_dict())
        assert folders.same_bits(found, folders.in_diffusers("transformer", expected))
    assert written.workflow is not None
    nodes = json.loads(written.workflow.read_text())
    assert [node["inputs"]["unet_name"] for node in nodes.values() if node["class_type"] == "UNETLoader"] == [
        file.name for file in written.files
    ]
    samplers = [node["inputs"] for node in nodes.values() if node["class_type"] == "SamplerCustom"]
    assert [sampler["cfg"] for sampler in samplers] == [4.0, 3.0]
    alone = native.write(origins.find(written.files[1]), tmp_path / "alone.safetensors")
    assert alone.workflow is None
    assert "it is one of two experts, which change at sigma 0.875: export the model of both" in alone.unsuited


@pytest.mark.parametrize("name", ["out.safetensors", "out.workflow.json"])
def test_what_is_there_stays(tmp_path, name):
    origin = model(tmp_path / "m.safetensors")
    (tmp_path / name).write_text("mine")
    with pytest.raises(WrongUse, match=rf"{name}: .*name a new \.safetensors file"):
        native.write(origin, tmp_path / "out.safetensors")
    assert (tmp_path / name).read_text() == "mine"


def test_a_flow_map_has_no_native_form(make_model, tmp_path):
    few = {"sampler": "flow_map", "rounds_timesteps": False, "steps": 1, "guidance_form": "folded"}
    with pytest.raises(Refused, match=r"a flow map, .*: export it without --layout"):
        native.write(origins.find(make_model(tmp_path / "few", sampling=few)), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
