import logging
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders import WanLoraLoaderMixin

from frostline import weights
from frostline.errors import Refused, WrongUse
from frostline.wan import lora
from tests.golden.wan import cases, small
from tests.unit.wan import folders

MODULES = ("attn1.to_q", "attn1.to_out.0", "attn2.to_k", "ffn.net.0.proj", "ffn.net.2")
RANK = 4


@pytest.fixture(scope="module")
def matrices():
    """All tensors of a small transformer, by diffusers' names."""
    config = small.transformer_config("high-noise")
    return folders.in_diffusers("transformer", small.native("transformer", config, 1))


@pytest.fixture
def change(matrices) -> lora.Lora:
    found: lora.Lora = {}
    for module in (f"blocks.{n}.{name}" for n in range(cases.LAYERS) for name in MODULES):
        out, into = matrices[f"{module}.weight"].shape
        down, up = cases.normal((RANK, into), module, "down"), cases.normal((out, RANK), module, "up")
        found[module] = lora.Change(down.bfloat16(), up.bfloat16(), alpha=8.0)
    return found


def same(a: lora.Lora, b: lora.Lora) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[m].down, b[m].down) and torch.equal(a[m].up, b[m].up) and a[m].alpha == b[m].alpha for m in a
    )


@pytest.mark.parametrize("naming", ["native", "diffusers"])
def test_what_was_written_is_read(tmp_path, change, naming):
    lora.write(change, tmp_path / "lora.safetensors", naming)
    assert same(lora.read(tmp_path / "lora.safetensors"), change)


def test_from_one_convention_to_the_other_and_back_every_byte_stays(tmp_path, change):
    first, second, third = (tmp_path / f"{n}.safetensors" for n in range(3))
    lora.write(change, first, "native")
    lora.write(lora.read(first), second, "diffusers")
    lora.write(lora.read(second), third, "native")
    assert first.read_bytes() == third.read_bytes()


def test_names_are_those_that_others_read(tmp_path, change):
    lora.write(change, tmp_path / "native.safetensors", "native")
    lora.write(change, tmp_path / "diffusers.safetensors", "diffusers")
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
    lora.write(change, tmp_path / "lora.safetensors", naming)
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
    lora.write(change, tmp_path / "lora.safetensors", naming)
    plain, merged = transformer(matrices), transformer(lora.merge(matrices, change))
    adapted = transformer(matrices)
    loaded: Any = WanLoraLoaderMixin.lora_state_dict(
        str(tmp_path), weight_name="lora.safetensors", return_lora_metadata=True
    )
    state, metadata = loaded
    adapted.load_lora_adapter(state, metadata=metadata)
    noised, text = cases.normal((1, 16, 1, 4, 4), "noised"), cases.normal((1, 5, cases.TEXT), "text")
    with torch.no_grad():
        before, ours, theirs = (
            network(noised, torch.tensor([500.0]), text, return_dict=False)[0] for network in (plain, merged, adapted)
        )
    assert torch.linalg.norm(ours - theirs) < 1e-5 * torch.linalg.norm(ours)
    assert torch.linalg.norm(ours - before) > 1e-2 * torch.linalg.norm(ours)


def transformer(tensors) -> Any:
    network: Any = WanTransformer3DModel.from_config(small.transformer_config("high-noise"))
    network.load_state_dict(tensors)
    return network


def test_what_was_merged_is_extracted(matrices, change):
    merged = lora.merge(matrices, change, scale=0.5)
    found = lora.extract(matrices, merged, RANK)
    assert found.keys() == change.keys()
    for module, original in change.items():
        expected = original.delta(0.5)
        assert torch.linalg.norm(found[module].delta() - expected) < 1e-5 * torch.linalg.norm(expected)
    assert all(
        torch.equal(merged[name], matrices[name]) for name in matrices if name.removesuffix(".weight") not in change
    )


def test_what_no_low_rank_can_hold_is_refused(matrices):
    with pytest.raises(Refused, match=r"blocks\.0\.attn1\.to_q\.bias: differs"):
        lora.extract(matrices, {**matrices, "blocks.0.attn1.to_q.bias": torch.ones(cases.WIDTH)}, RANK)


def test_a_lora_of_another_transformer_is_refused(matrices, change):
    wrong = {"blocks.7.attn1.to_q": next(iter(change.values()))}
    with pytest.raises(WrongUse, match="no such matrix"):
        lora.merge(matrices, wrong)
    wide = lora.Change(torch.zeros(RANK, 9), torch.zeros(cases.WIDTH, RANK), 1.0)
    with pytest.raises(WrongUse, match=r"\(48, 9\), the transformer has \(48, 48\)"):
        lora.merge(matrices, {"blocks.0.attn1.to_q": wide})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("diffusion_model.blocks.0.self_attn.q.lora_down.weight", "only down"),
        ("diffusion_model.blocks.0.self_attn.q.diff_b", "no part of a LoRA"),
        ("blocks.0.self_attn.q.lora_down.weight", "not a LoRA of one Wan transformer"),
    ],
)
def test_what_is_no_lora_is_refused(tmp_path, name, reason):
    folders.write(tmp_path / "lora.safetensors", {name: torch.zeros(2, 2)})
    with pytest.raises(Refused, match=reason):
        lora.read(tmp_path / "lora.safetensors")
