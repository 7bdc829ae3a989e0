import pytest
import torch

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


def merged(tensors, change, scale=1.0):
    """All tensors of a transformer with a LoRA added."""
    return {name: lora.merged(name, tensor, change, scale) for name, tensor in tensors.items()}


def kinds(tensors) -> dict[str, weights.Kind]:
    return {name: weights.Kind(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def test_what_was_merged_is_extracted(matrices, change):
    after = merged(matrices, change, scale=0.5)
    found = lora.extract(matrices, after, RANK)
    assert found.lora.keys() == change.keys() == found.kept.keys()
    for module, original in change.items():
        expected = original.delta(0.5)
        assert torch.linalg.norm(found.lora[module].delta() - expected) < 1e-5 * torch.linalg.norm(expected)
    assert all(
        torch.equal(after[name], matrices[name]) for name in matrices if name.removesuffix(".weight") not in change
    )
    assert found.overall == pytest.approx(1, abs=1e-6)


def test_the_share_that_a_rank_keeps_is_that_of_the_squared_norm(matrices, change):
    after = merged(matrices, change)
    found = lora.extract(matrices, after, 1)
    whole = lost = 0.0
    for module, original in change.items():
        delta = original.delta()
        left = (delta - found.lora[module].delta()).square().sum() / delta.square().sum()
        assert found.kept[module] == pytest.approx(1 - left.item(), abs=1e-4)
        whole += delta.square().sum().item()
        lost += (delta - found.lora[module].delta()).square().sum().item()
    assert found.overall == pytest.approx(1 - lost / whole, abs=1e-4)
    assert found.worst == min(found.kept.items(), key=lambda item: item[1])
    assert 0.2 < found.overall < 0.9


@pytest.mark.parametrize("shape", [(200, 300), (300, 200)])
@pytest.mark.parametrize("fall", [0.0, 0.5, 1.5])
def test_few_singular_values_of_a_large_matrix_are_found_as_if_all_were(shape, fall):
    """Against the whole decomposition; with no fall at all it is hardest."""
    u, _, v = torch.linalg.svd(cases.normal(shape, "large"), full_matrices=False)
    s = torch.arange(1, 201, dtype=torch.float32) ** -fall
    delta, best = (u * s) @ v, (s[:16].square().sum() / s.square().sum()).item()
    name = "blocks.0.attn1.to_q"
    before = {f"{name}.weight": torch.zeros(shape)}
    found = lora.extract(before, {f"{name}.weight": delta}, 16)
    left = (delta - found.lora[name].delta()).square().sum() / delta.square().sum()
    assert found.kept[name] == pytest.approx(1 - left.item(), abs=1e-4)
    assert 0.99 * best < found.kept[name] < best + 1e-5


def test_what_no_low_rank_can_hold_is_refused_or_left_out_and_counted(matrices, change):
    bias = "blocks.0.attn1.to_q.bias"
    after = {**merged(matrices, change), bias: matrices[bias] + 1.0}
    with pytest.raises(Refused, match=r"blocks\.0\.attn1\.to_q\.bias: differs.*--matrices-only"):
        lora.extract(matrices, after, RANK)
    found = lora.extract(matrices, after, RANK, matrices_only=True)
    assert found.left_out == (bias,)
    whole = sum(original.delta().square().sum().item() for original in change.values())
    assert found.overall == pytest.approx(whole / (whole + cases.WIDTH), rel=1e-4)


def test_equal_and_damaged_models_give_no_lora(matrices):
    with pytest.raises(Refused, match="no matrix of the two differs"):
        lora.extract(matrices, matrices, RANK)
    name = "blocks.0.attn1.to_q.weight"
    with pytest.raises(Refused, match=r"blocks\.0\.attn1\.to_q\.weight: holds numbers that are not finite"):
        lora.extract(matrices, {**matrices, name: matrices[name] * torch.inf}, RANK)


def test_a_sum_keeps_the_dtype_of_the_weights(matrices, change):
    name = "blocks.0.attn1.to_q.weight"
    half = lora.merged(name, matrices[name].bfloat16(), change)
    exact = matrices[name].bfloat16().float() + change["blocks.0.attn1.to_q"].delta()
    assert torch.equal(half, exact.bfloat16())


def test_a_lora_of_another_transformer_is_refused(matrices, change):
    said = {"lora_is": "x.safetensors", "model_is": "models/m"}
    lora.require_fitting(change, kinds(matrices), **said)
    wrong = {"blocks.7.attn1.to_q": next(iter(change.values()))}
    with pytest.raises(WrongUse, match=r"x\.safetensors: changes blocks\.7.*models/m has no such matrix"):
        lora.require_fitting(wrong, kinds(matrices), **said)
    wide = lora.Change(torch.zeros(RANK, 9), torch.zeros(cases.WIDTH, RANK), 1.0)
    with pytest.raises(WrongUse, match=r"\(48, 9\), models/m has \(48, 48\)"):
        lora.require_fitting({"blocks.0.attn1.to_q": wide}, kinds(matrices), **said)
