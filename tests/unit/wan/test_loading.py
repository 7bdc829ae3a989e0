import subprocess
import sys
from typing import Any

import pytest
import torch

from frostline.errors import Refused, WrongUse
from frostline.wan import layouts, loading, names
from tests.golden.wan import cases, small
from tests.unit.wan import folders


def source(path, role: layouts.Role = "transformer") -> Any:
    return layouts.found(path).sources[role]


def load(path, dtype=torch.float32, role: layouts.Role = "transformer") -> Any:
    return loading.load(source(path, role), dtype)


def test_shards_of_native_names_become_a_module(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    module = load(root)
    expected = folders.in_diffusers("transformer", small.native("transformer", folders.transformer_config(), 1))
    assert folders.same_bits(dict(module.state_dict()), expected)
    assert {key: module.config[key] for key in ("num_attention_heads", "attention_head_dim", "text_dim")} == {
        "num_attention_heads": cases.HEADS,
        "attention_head_dim": cases.WIDTH // cases.HEADS,
        "text_dim": folders.EMBEDDING,
    }
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(t.is_meta for t in (*module.parameters(), *module.buffers()))


def test_a_dtype_is_taken_but_for_what_is_kept_in_float32(tmp_path, tiny_base):
    module = load(folders.native(tmp_path / "model", tiny_base), torch.bfloat16)
    dtypes = {name: parameter.dtype for name, parameter in module.named_parameters()}
    assert dtypes["blocks.0.attn1.to_q.weight"] == torch.bfloat16
    assert dtypes["scale_shift_table"] == dtypes["blocks.0.norm2.weight"] == torch.float32
    assert dtypes["condition_embedder.time_embedder.linear_1.weight"] == torch.float32


def test_the_text_encoder_shares_its_embedding(tmp_path, tiny_base):
    module = load(folders.native(tmp_path / "m", tiny_base), role="text_encoder")
    state = module.state_dict()
    assert torch.equal(state["shared.weight"], state["encoder.embed_tokens.weight"])
    assert state["shared.weight"].data_ptr() == state["encoder.embed_tokens.weight"].data_ptr()


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_a_single_file_of_others_is_read(tmp_path, prefix):
    config = {**small.transformer_config("high-noise"), "num_attention_heads": 1, "attention_head_dim": 128}
    tensors = small.native("transformer", config, 1)
    folders.write(tmp_path / "model.safetensors", {prefix + name: tensor for name, tensor in tensors.items()})
    module = load(tmp_path / "model.safetensors")
    assert dict(module.config).items() >= config.items()


def test_a_width_that_published_heads_do_not_divide_is_refused(tmp_path):
    folders.write(tmp_path / "m.safetensors", small.native("transformer", folders.transformer_config(), 1))
    with pytest.raises(Refused, match=r"width 48.*128 wide.*config\.json"):
        loading.plan(source(tmp_path / "m.safetensors"))


def test_tensors_too_few_too_many_and_of_other_shapes_are_listed(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    tensors = small.native("transformer", folders.transformer_config(), 1)
    del tensors["blocks.1.ffn.0.bias"]
    tensors["blocks.1.self_attn.extra.weight"] = torch.zeros(3)
    tensors["blocks.0.norm3.weight"] = torch.zeros(7)
    folders.shards(root, tensors)
    with pytest.raises(Refused) as refused:
        load(root)
    lines = str(refused.value).splitlines()
    assert lines[1:] == [
        "  missing 1: blocks.1.ffn.net.0.proj.bias",
        "  unexpected 1: blocks.1.attn1.extra.weight",
        "  mismatched 1: blocks.0.norm2.weight: (7,) in the files, (48,) in the module",
    ]


def test_a_config_that_contradicts_its_tensors_is_refused(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    stated = folders.read_json(root / "config.json")
    folders.files.write_json(root / "config.json", {**stated, "num_layers": 30})
    with pytest.raises(Refused, match="num_layers 30, its tensors 2"):
        loading.plan(source(root))


def test_a_shard_that_is_missing_cut_short_or_there_twice_is_refused(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    first, second = sorted(root.glob("*.safetensors"))
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Refused, match="cut short"):
        loading.plan(source(root))
    second.unlink()
    with pytest.raises(Refused, match=r"00002-of-00002.*not there"):
        layouts.found(root)
    (root / "diffusion_pytorch_model.safetensors.index.json").unlink()
    second.write_bytes(first.read_bytes())
    with pytest.raises(Refused, match="stand in another file"):
        loading.plan(source(root))


def test_a_file_of_another_part_is_refused(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    (root / "Wan2.1_VAE.pth").write_bytes((root / "models_t5_umt5-xxl-enc-bf16.pth").read_bytes())
    with pytest.raises(Refused, match="holds a text_encoder, where a vae is to be"):
        loading.plan(source(root, "vae"))


def test_what_is_no_model_is_said(tmp_path):
    with pytest.raises(WrongUse, match="no such file or folder"):
        layouts.found(tmp_path / "none")
    with pytest.raises(WrongUse, match="no Wan model"):
        layouts.found(tmp_path)
    folders.write(tmp_path / "other.safetensors", {"weight": torch.zeros(1)})
    with pytest.raises(WrongUse, match="neither a Wan transformer"):
        layouts.found(tmp_path / "other.safetensors")
    (tmp_path / "high_noise_model").mkdir()
    folders.write(tmp_path / "high_noise_model" / "diffusion_pytorch_model.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(Refused, match="one of high_noise_model and low_noise_model is missing"):
        layouts.found(tmp_path)


def test_two_names_of_one_tensor_are_refused():
    with pytest.raises(Refused, match="mixes two namings"):
        names.to_diffusers("transformer", ["head.modulation", "model.diffusion_model.head.modulation"])


MEASURE = """
import sys, torch
from pathlib import Path
from frostline.wan import layouts, loading

def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024

source = layouts.found(Path(sys.argv[1])).sources["transformer"]
loading.plan(source)  # libraries and threads are there
open("/proc/self/clear_refs", "w").write("5")
before = peak()
module = loading.load(source, torch.bfloat16)
print(peak() - before)
"""


def test_no_more_memory_than_the_module_and_one_shard(tmp_path):
    config = {
        **small.transformer_config("high-noise"),
        "num_attention_heads": 4,
        "attention_head_dim": 128,
        "ffn_dim": 1536,
        "num_layers": 12,
    }
    shapes = names.to_native("transformer", small.empty("transformer", config).state_dict())
    with torch.device("meta"):
        meta = {shapes[name]: tensor for name, tensor in small.empty("transformer", config).state_dict().items()}
    tensors = {name: torch.zeros(tensor.shape) for name, tensor in meta.items()}
    folders.shards(tmp_path / "model", tensors, count=6)
    written = sum(tensor.numel() for tensor in tensors.values())
    del tensors
    largest = max(path.stat().st_size for path in (tmp_path / "model").glob("*.safetensors"))
    allowed = 1.1 * (largest + 2 * written)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 2 * written <= int(done.stdout) <= allowed, (int(done.stdout) / 1e6, allowed / 1e6)
