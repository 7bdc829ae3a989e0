"""The three commands as a user types them, with wrong input too."""

import json

import pytest
import torch

from frostline import models, origins
from frostline.wan import lora, lora_files
from tests.unit.wan import folders


@pytest.fixture
def file(tiny_model, tmp_path):
    kinds = origins.find(tiny_model).single().kinds
    out, into = kinds["blocks.0.attn1.to_q.weight"].shape
    change = {"blocks.0.attn1.to_q": lora.Change(torch.ones(2, into), torch.eye(out)[:, :2].contiguous(), 2.0)}
    lora_files.write(change, tmp_path / "lora.safetensors", "diffusers")
    return tmp_path / "lora.safetensors"


def test_merged_and_extracted_again(frostline, tiny_model, file, tmp_path):
    code, out, _ = frostline("lora", "merge", tiny_model, file, tmp_path / "merged", "--scale", 0.5)
    assert (code, out.count("\n")) == (0, 1)
    assert "with 0.5 times" in out
    assert "1 matrices changed" in out
    assert models.load(tmp_path / "merged").training.stage == "merge"
    found = tmp_path / "found.safetensors"
    code, out, _ = frostline("lora", "extract", tmp_path / "merged", tiny_model, found, "--rank", 1, "--json")
    said = json.loads(out)
    assert code == 0
    assert said["kept"] == pytest.approx(1, abs=1e-6)  # the two columns of ones have rank 1
    assert said["kept_by_module"].keys() == {"blocks.0.attn1.to_q"}
    assert set(lora_files.read(found)) == {"blocks.0.attn1.to_q"}


def test_extracting_says_the_share_overall_and_the_worst(frostline, tiny_model, make_model, tmp_path):
    other = make_model(tmp_path / "other", seed=5)
    found = tmp_path / "found.safetensors"
    code, _, error = frostline("lora", "extract", other, tiny_model, found, "--rank", 2)
    assert code == 1
    assert "--matrices-only" in error
    assert not found.exists()
    code, out, _ = frostline("lora", "extract", other, tiny_model, found, "--rank", 2, "--matrices-only")
    assert code == 0
    assert "of the change (squared norm), worst" in out
    assert "left out, as no matrices" in out


def test_converted(frostline, file, tmp_path):
    code, out, _ = frostline("lora", "convert", file, tmp_path / "native.safetensors", "--layout", "native")
    assert code == 0
    assert "1 matrices of rank 2 under native names" in out
    assert torch.equal(
        lora_files.read(file)["blocks.0.attn1.to_q"].down,
        lora_files.read(tmp_path / "native.safetensors")["blocks.0.attn1.to_q"].down,
    )


def test_wrong_input_is_one_line_with_file_and_remedy(frostline, tiny_model, file, tmp_path):
    (tmp_path / "there").mkdir()
    folders.write(tmp_path / "no.safetensors", {"x": torch.zeros(1)})
    for code, arguments, says in (
        (2, ("merge", tiny_model, file, tmp_path / "there"), "there: exists; name a new folder"),
        (2, ("merge", tmp_path / "nowhere", file, tmp_path / "out"), "nowhere: no such file or folder"),
        (2, ("merge", tiny_model, tmp_path / "nowhere", tmp_path / "out"), "nowhere: no such file"),
        (1, ("merge", tiny_model, tmp_path / "no.safetensors", tmp_path / "out"), "'x' does not"),
        (2, ("convert", file, file, "--layout", "native"), "lora.safetensors: exists; name a new"),
        (2, ("extract", tiny_model, tiny_model, file, "--rank", 1), "lora.safetensors: exists; name a new"),
        (2, ("extract", tiny_model, tiny_model, tmp_path / "o.safetensors", "--rank", 0), "rank"),
    ):
        found, out, error = frostline("lora", *arguments)
        assert (found, out) == (code, ""), error
        assert says in error
    assert not (tmp_path / "out").exists()
