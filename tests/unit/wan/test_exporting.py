import torch

from frostline import contract as contracts
from frostline import digests, weights
from frostline.wan import exporting, loading, rewriting
from tests import tiny
from tests.golden.wan import cases
from tests.unit.wan import folders
from tests.unit.wan.test_families import RECORDED
from tests.unit.wan.test_loading import load, source


def test_native_to_diffusers_and_back_every_bit_stays(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    for role in ("transformer", "vae", "text_encoder"):
        found = loading.plan(source(root, role))
        rewriting.to_diffusers(found, tmp_path / role)
        there = folders.read(tmp_path / role)
        target = tmp_path / f"{role}.safetensors"
        rewriting.to_native(found.source.part, found.kinds, there.__getitem__, target, {})
        with weights.opened(tmp_path / f"{role}.safetensors") as file:
            back = {name: file.read(name).clone() for name in file.kinds}
        expected: dict[str, torch.Tensor] = {}
        for path in found.source.files:
            with weights.opened(path) as file:
                expected |= {name: file.read(name).clone() for name in file.kinds}
        assert folders.same_bits(back, expected)


def test_one_file_carries_its_contract_and_is_loaded_again(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    network = load(root)
    meaning = contracts.Contract(latent_space=tiny.space())
    path = tmp_path / "exported.safetensors"
    exporting.write(loading.plan(source(root)), meaning, path)
    with weights.opened(path) as file:
        assert file.metadata[contracts.METADATA] == digests.canonical(meaning.model_dump(mode="json"))
    again = load(path)
    assert folders.same_bits(dict(again.state_dict()), dict(network.state_dict()))
    assert {**again.config} == {**network.config}


def test_a_file_has_the_names_that_comfyui_gives_a_model_of_its_depth(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    exporting.write(loading.plan(source(root)), None, tmp_path / "out.safetensors")
    kept = RECORDED["wan2.1-t2v-1.3b"]
    blocks = {f"blocks.{number}.{name}" for number in range(cases.LAYERS) for name in kept["block"]}
    assert set(weights.kinds(tmp_path / "out.safetensors")) == blocks | kept["outside"].keys()
