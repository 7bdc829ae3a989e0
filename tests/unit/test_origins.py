import math

import pytest

from frostline import contract as contracts
from frostline import export, models, origins, teachers
from frostline.errors import Refused, WrongUse
from frostline.wan import exporting, fetching, streaming
from tests.unit.test_teachers import family, single
from tests.unit.wan import folders

__all__ = ["family", "single"]


def tensors(origin: origins.Origin):
    with streaming.opened(origin.single()) as found:
        return {name: tensor.clone() for name, tensor in found.items()}


def test_a_model_made_here(tiny_model):
    model, found = models.load(tiny_model), origins.find(tiny_model)
    assert folders.same_bits(tensors(found), dict(model.transformer.state_dict()))
    assert (found.contract, found.base, found.training) == (model.contract, model.base, model.training)
    assert found.weights_digest == model.training.weights_digest
    assert found.parameters == sum(parameter.numel() for parameter in model.transformer.parameters())


def test_a_fetched_model_is_what_the_teachers_door_says(tmp_path, tiny_base, single):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base)), tmp_path / "base")
    model, found = teachers.load(tmp_path / "base"), origins.find(tmp_path / "base")
    assert folders.same_bits(tensors(found), dict(model.transformer.state_dict()))
    assert (found.contract, found.base, found.training) == (model.contract, model.base, model.training)
    assert (found.family, found.weights_digest) == (single, model.training.weights_digest)


def test_an_exported_pipeline_folder_keeps_its_contract(tmp_path, tiny_model, tiny_base):
    model = models.load(tiny_model)
    export.export(model, tiny_base, tmp_path / "out")
    found = origins.find(tmp_path / "out")
    assert folders.same_bits(tensors(found), dict(model.transformer.state_dict()))
    assert (found.contract, found.training) == (model.contract, None)
    assert found.base is not None
    assert (found.base.path, found.base.vae_digest) == (str(tmp_path / "out"), model.base.vae_digest)


def test_a_single_file_that_was_written_here_says_its_contract(tmp_path, tiny_model):
    made = origins.find(tiny_model)
    exporting.write(made.single(), made.contract, tmp_path / "m.safetensors")
    found = origins.find(tmp_path / "m.safetensors")
    assert (found.contract, found.base) == (made.contract, None)
    assert folders.same_bits(tensors(found), tensors(made))


def test_two_experts_are_two_plans_and_no_single_one(tmp_path, tiny_base, family):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "base")
    found = origins.find(tmp_path / "base")
    assert list(found.plans) == ["transformer", "transformer_2"]
    one = sum(math.prod(kind.shape) for kind in found.plans["transformer"].kinds.values())
    assert found.parameters == 2 * one
    with pytest.raises(Refused, match=r"two experts.*name the file of one of them, such as .*transformer"):
        found.single()


def test_what_is_no_model_or_no_longer_what_it_says_is_refused(tmp_path, tiny_base, make_model):
    with pytest.raises(WrongUse, match="no such file or folder"):
        origins.find(tmp_path / "nowhere")
    with pytest.raises(Refused, match="holds no transformer"):
        origins.find(tiny_base)
    damaged = make_model(tmp_path / "model")
    contract = contracts.load(damaged)
    weights = damaged / models.WEIGHTS
    models.write_weights(weights, {"x": models.load(damaged).transformer.proj_out.weight}, contract)
    with pytest.raises(Refused, match="the weights were changed"):
        origins.find(damaged)
