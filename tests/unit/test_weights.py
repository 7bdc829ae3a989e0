import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from frostline import weights
from frostline.errors import Refused, WrongUse

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.arange(5).to(torch.bfloat16),
    "c": torch.tensor([True, False]),
    "d": torch.arange(3.0).to(torch.float8_e4m3fn),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
}


def kinds(tensors):
    return {name: weights.Kind(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def bits(tensor):
    return tensor.reshape(-1).view(torch.uint8)


def write(path: Path, tensors=TENSORS):
    weights.write(path, kinds(tensors), tensors.__getitem__, {"said": "something"})
    return path


def test_what_was_written_is_read(tmp_path):
    path = write(tmp_path / "w.safetensors")
    with weights.opened(path) as file:
        assert file.kinds == kinds(TENSORS)
        assert file.metadata == {"format": "pt", "said": "something"}
        for name, tensor in TENSORS.items():
            assert torch.equal(bits(file.read(name)), bits(tensor))


def test_the_library_reads_it_too_and_the_bytes_are_always_the_same(tmp_path):
    first, second = (
        write(tmp_path / "1.safetensors"),
        write(tmp_path / "2.safetensors", dict(reversed(TENSORS.items()))),
    )
    assert first.read_bytes() == second.read_bytes()
    loaded = safetensors.torch.load_file(first)
    assert loaded.keys() == TENSORS.keys()
    assert torch.equal(loaded["a"], TENSORS["a"])


@pytest.mark.parametrize("kept", [0, 5, 40, -1, -20])
def test_a_file_cut_short_is_refused(tmp_path, kept):
    path = write(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Refused, match=r"w\.safetensors.*fetch it again"):
        weights.kinds(path)


def test_a_file_with_something_behind_it_is_refused(tmp_path):
    path = write(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(Refused, match="too long"):
        weights.kinds(path)


@pytest.mark.parametrize("wrapped", [lambda t: t, lambda t: {"state_dict": t, "step": 3}, lambda t: {"model": t}])
def test_a_zip_of_torch_is_read_with_or_without_a_wrapping(tmp_path, wrapped):
    tensors = {"a": TENSORS["a"], "b": TENSORS["b"]}
    torch.save(wrapped(tensors), tmp_path / "w.pth")
    with weights.opened(tmp_path / "w.pth") as file:
        assert file.kinds == kinds(tensors)
        assert torch.equal(file.read("a"), TENSORS["a"])


class Command:
    """What a hostile file would have run."""

    def __reduce__(self):
        return os.mkdir, (os.environ["FROSTLINE_TEST_TRACE"],)


@pytest.mark.parametrize("how", ["zip", "pickle", "old torch"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, monkeypatch, how):
    trace = tmp_path / "was-run"
    monkeypatch.setenv("FROSTLINE_TEST_TRACE", str(trace))
    path = tmp_path / "w.pth"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"a": Command()}))
    else:
        torch.save({"a": Command()}, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(Refused, match=r"w\.pth.*run code"):
        weights.kinds(path)
    assert not trace.exists()


def test_a_zip_cut_short_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    for kept in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "w.pth").write_bytes(whole[:kept])
        with pytest.raises(Refused, match=r"w\.pth"):
            weights.kinds(tmp_path / "w.pth")


def test_what_is_not_tensors_by_name_is_refused(tmp_path):
    for value in ([1, 2], {}, {"a": torch.zeros(1), "b": 3}):
        torch.save(value, tmp_path / "w.pth")
        with pytest.raises(Refused, match="tensors"):
            weights.kinds(tmp_path / "w.pth")
    with pytest.raises(WrongUse, match="no such file"):
        weights.kinds(tmp_path / "none.safetensors")
