import dataclasses

import pytest
import safetensors
import safetensors.torch
import torch

from frostline import contract, digests, files, models, trainings
from frostline.errors import Refused, WrongUse
from tests import tiny

WHOLE = trainings.teacher_contract(tiny.train_params(), tiny.space())


@pytest.fixture
def folder(tmp_path):
    return tiny.model(tmp_path / "model")


def test_what_was_saved_is_what_is_loaded(folder):
    model = models.load(folder)
    weights = tiny.network().state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.transformer.state_dict().items())
    assert model.contract == WHOLE
    assert model.base.path == "base"
    assert model.training.complete
    assert not model.transformer.training


def test_the_same_weights_are_the_same_bytes(tmp_path):
    paths = [tmp_path / f"{n}.safetensors" for n in range(8)]
    for path in paths:
        models.write_weights(path, tiny.network().state_dict(), WHOLE)
    assert len({path.read_bytes() for path in paths}) == 1
    with safetensors.safe_open(paths[0], "pt") as weights:
        assert weights.metadata()["format"] == "pt"
    found = safetensors.torch.load_file(paths[0])
    assert all(torch.equal(found[name], tensor) for name, tensor in tiny.network().state_dict().items())


def test_a_flipped_bit_in_the_weights_is_refused(folder):
    path = folder / models.WEIGHTS
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(Refused, match=r"digest.*training\.json"):
        models.load(folder)


def test_a_contract_that_is_not_the_weights_own_is_refused(folder):
    contract.save(contract.Contract(latent_space=tiny.space(), process=tiny.process(shift=9.0)), folder)
    with pytest.raises(Refused, match="the contract inside the weights is not the one"):
        models.load(folder)


def test_weights_without_a_contract_are_refused(folder):
    path = folder / models.WEIGHTS
    safetensors.torch.save_file(tiny.network().state_dict(), path)
    training = files.read_json(folder / "training.json")
    files.write_json(folder / "training.json", {**training, "weights_digest": digests.of_file(path)})
    with pytest.raises(Refused, match="the contract inside the weights"):
        models.load(folder)


def test_a_folder_that_is_not_there_and_a_file_that_is_missing_are_named(folder):
    with pytest.raises(WrongUse, match="no such model folder"):
        models.load(folder.parent / "other")
    (folder / "base.json").unlink()
    with pytest.raises(WrongUse, match=r"base\.json: no such file"):
        models.load(folder)


def test_a_model_without_a_sampling_part_may_not_be_sampled(folder):
    model = models.load(folder)
    assert model.sampled() == (WHOLE.process, WHOLE.sampling)
    bare = contract.Contract(latent_space=tiny.space(), process=tiny.process())
    with pytest.raises(Refused, match="no process or sampling part"):
        dataclasses.replace(model, contract=bare).sampled()
