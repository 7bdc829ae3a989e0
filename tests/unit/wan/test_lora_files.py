import logging
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders import WanLoraLoaderMixin

from frostline import digests, weights
from frostline.errors import Refused
from frostline.wan import lora, lora_files
from tests.golden.wan import cases, small
from tests.unit.wan import folders
from tests.unit.wan.test_families import BY_NAME, RECORDED, module_of
from tests.unit.wan.test_lora import change, matrices, merged

__all__ = ["change", "matrices"]

PAIR = {"lora_down.weight": torch.ones(2, 5), "lora_up.weight": torch.ones(3, 2)}


def same(a: lora.Lora, b: lora.Lora) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[m].down, b[m].down) and torch.equal(a[m].up, b[m].up) and a[m].alpha == b[m].alpha for m in a
    )


@pytest.mark.parametrize("naming", ["native", "diffusers"])
def test_what_was_written_is_read(tmp_path, change, naming):
    lora_files.write(change, tmp_path / "lora.safetensors", naming)
    assert same(lora_files.read(tmp_path / "lora.safetensors"), change)


def test_from_one_convention_to_the_other_and_back_every_byte_stays(tmp_path, change):
    first, second, third = (tmp_path / f"{n}.safetensors" for n in range(3))
    lora_files.write(change, first, "native")
    lora_files.write(lora_files.read(first), second, "diffusers")
    lora_files.write(lora_files.read(second), third, "native")
    assert first.read_bytes() == third.read_bytes()


def test_names_are_those_that_others_read(tmp_path, change):
    lora_files.write(change, tmp_path / "native.safetensors", "native")
    lora_files.write(change, tmp_path / "diffusers.safetensors", "diffusers")
    native, theirs = (set(weights.kinds(tmp_path / f"{name}.safetensors")) for name in ("native", "diffusers"))
    assert {name for name in native if ".blocks.1.cross_attn." in f".{name}"} == {
        f"diffusion_model.blocks.1.cross_attn.k.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    assert {name for name in theirs if "blocks.1.ffn.net.2" in name} == {
        f"transformer.blocks.1.ffn.net.2.lora_{end}.weight" for end in "AB"
    }


@pytest.mark.parametrize("naming", ["native", "diffusers"])
def test_diffusers_reads_the_same_change(tmp_path, change, naming, caplog):
    change = {module: lora.Change(c.down.float(), c.up.float(), c.alpha) for module, c in change.items()}
    if naming == "diffusers":  # there alpha is not in the tensors
        change = {module: lora.Change(c.down, c.up, float(c.rank)) for module, c in change.items()}
    lora_files.write(change, tmp_path / "lora.safetensors", naming)
    with caplog.at_level(logging.WARNING):
        state: Any = WanLoraLoaderMixin.lora_state_dict(str(tmp_path), weight_name="lora.safetensors")
    assert not caplog.records
    assert len(state) == 2 * len(change)
    for module, ours in change.items():
        up, down = (state[f"transformer.{module}.lora_{end}.weight"] for end in "BA")
        assert torch.linalg.norm(up @ down - ours.delta()) < 1e-6 * torch.linalg.norm(ours.delta())


@pytest.mark.parametrize("naming", ["native", "diffusers"])
def test_diffusers_draws_with_it_as_with_the_merged_weights(tmp_path, matrices, change, naming):
    pytest.importorskip("peft")
    change = {module: lora.Change(c.down.float(), c.up.float() / 30, c.alpha) for module, c in change.items()}
    odd = "blocks.1.ffn.net.2"
    change[odd] = lora.Change(change[odd].down[:2], change[odd].up[:, :2], 3.0)  # of its own rank and alpha
    lora_files.write(change, tmp_path / "lora.safetensors", naming)
    plain, added = transformer(matrices), transformer(merged(matrices, change))
    adapted = transformer(matrices)
    loaded: Any = WanLoraLoaderMixin.lora_state_dict(
        str(tmp_path), weight_name="lora.safetensors", return_lora_metadata=True
    )
    state, metadata = loaded
    adapted.load_lora_adapter(state, metadata=metadata)
    noised, text = cases.normal((1, 16, 1, 4, 4), "noised"), cases.normal((1, 5, cases.TEXT), "text")
    with torch.no_grad():
        before, ours, theirs = (
            network(noised, torch.tensor([500.0]), text, return_dict=False)[0] for network in (plain, added, adapted)
        )
    assert torch.linalg.norm(ours - theirs) < 1e-5 * torch.linalg.norm(ours)
    assert torch.linalg.norm(ours - before) > 1e-2 * torch.linalg.norm(ours)


def transformer(tensors) -> Any:
    network: Any = WanTransformer3DModel.from_config(small.transformer_config("high-noise"))
    network.load_state_dict(tensors)
    return network


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("diffusion_model.blocks.0.self_attn.q.lora_down.weight", "only down; a pair is asked for"),
        ("diffusion_model.blocks.0.self_attn.q.diff_b", "no part of a LoRA"),
        ("diffusion_model.blocks.0.self_attn.extra.lora_up.weight", r"attn1.extra|self_attn.extra: no matrix of a Wan"),
        ("blocks.0.self_attn.q.lora_down.weight", "'blocks.0.self_attn.q.lora_down.weight' does not"),
    ],
)
def test_what_is_no_lora_is_refused(tmp_path, name, reason):
    folders.write(tmp_path / "lora.safetensors", {name: torch.zeros(2, 2)})
    with pytest.raises(Refused, match=reason):
        lora_files.read(tmp_path / "lora.safetensors")


def refused(tmp_path, tensors, metadata=None) -> str:
    folders.write(tmp_path / "bad.safetensors", tensors, metadata)
    with pytest.raises(Refused) as error:
        lora_files.read(tmp_path / "bad.safetensors")
    assert str(error.value).startswith(f"{tmp_path / 'bad.safetensors'}: ")
    return str(error.value)


def pair(prefix: str, ends: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{end}": tensor for end, tensor in ends.items()}


def test_ranks_of_a_pair_that_differ_are_refused(tmp_path):
    wrong = {**PAIR, "lora_up.weight": torch.ones(3, 4)}
    assert "down (2, 5) and up (3, 4) have no rank in common" in refused(
        tmp_path, pair("diffusion_model.blocks.0.self_attn.q", wrong)
    )


def test_a_pair_that_stands_there_twice_is_refused(tmp_path):
    module = "diffusion_model.blocks.0.self_attn.q"
    twice = {**pair(module, PAIR), f"{module}.lora_A.weight": torch.ones(2, 5)}
    assert "two of the kind down" in refused(tmp_path, twice)


def test_numbers_that_are_none_are_refused(tmp_path):
    wrong = {**PAIR, "lora_up.weight": torch.full((3, 2), torch.nan)}
    assert "not finite" in refused(tmp_path, pair("diffusion_model.blocks.0.self_attn.q", wrong))


@pytest.mark.parametrize("form", ["use_dora", "use_rslora"])
def test_another_form_of_adapter_is_refused(tmp_path, form):
    ends = {"lora_A.weight": torch.ones(2, 5), "lora_B.weight": torch.ones(3, 2)}
    stated = {lora_files.METADATA: digests.canonical({f"transformer.{form}": True})}
    assert form in refused(tmp_path, pair("transformer.blocks.0.attn1.to_q", ends), stated)


def test_an_empty_file_is_no_lora(tmp_path):
    assert "not a LoRA of one Wan transformer" in refused(tmp_path, {})


def test_every_matrix_of_a_wan_transformer_is_known_and_nothing_else():
    network = module_of("transformer", BY_NAME["wan2.1-i2v-14b"].transformer.config())
    linear = {name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)}
    every = {name for name, _ in network.named_modules()}
    assert {name for name in every if lora_files.matrices.is_matrix(name)} == linear


def test_comfyui_reads_every_native_name_of_a_published_shape(tmp_path):
    """Its key map (``model_lora_keys_unet``) has "diffusion_model." and each matrix's name; it looks for known ends."""
    kept = RECORDED["wan2.1-t2v-1.3b"]
    blocks = (f"blocks.{number}.{name}" for number in range(kept["blocks"]) for name in kept["block"])
    known = {
        RECORDED["lora"]["prefix"] + name.removesuffix(".weight")
        for name in (*kept["outside"], *blocks)
        if name.endswith(".weight")
    }
    up, down = RECORDED["lora"]["pairs"][0]
    network = module_of("transformer", BY_NAME["wan2.1-t2v-1.3b"].transformer.config())
    linear = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    tiny = {module: lora.Change(torch.ones(1, 1), torch.ones(1, 1), 1.0) for module in linear}
    lora_files.write(tiny, tmp_path / "lora.safetensors", "native")
    found = {
        name: name.removesuffix(f".{end}")
        for name in weights.kinds(tmp_path / "lora.safetensors")
        for end in (up, down, RECORDED["lora"]["alpha"])
        if name.endswith(f".{end}")
    }
    assert set(found) == set(weights.kinds(tmp_path / "lora.safetensors"))
    assert set(found.values()) <= known
    assert len(set(found.values())) == len(linear)
