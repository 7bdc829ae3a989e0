"""The formula of activations against what autograd keeps in steps that are really taken."""

from typing import Any

import pytest
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh

from frostline import sharding
from frostline.estimating import activations, networks
from frostline.params.trainings import AdapterParams, ComputeParams
from frostline.processes import Team
from tests.unit.estimating import measuring

SHAPES: list[dict[str, Any]] = [
    {},
    {"layers": 1, "patch_size": (1, 2, 2)},
    {"heads": 6, "head_dim": 12, "ffn_dim": 64},
    {"layers": 5, "ffn_dim": 500},
]


@pytest.fixture(scope="module")
def team():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield Team(mesh=init_device_mesh("cpu", (1,)))
    distributed.destroy_process_group()


def compute(**changed: Any) -> ComputeParams:
    facts: dict[str, Any] = {"dtype": "float32", "accumulate": 1, "recompute": False, "compile": False, **changed}
    return ComputeParams(**facts)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 3])
def test_they_are_what_autograd_keeps(shape, rows):
    network = measuring.network(**shape)
    with measuring.Kept(network.module) as kept:
        loss = measuring.loss(network.module, measuring.batch(rows))
    expected = activations.kept(network, measuring.row(network), "float32", "cpu").everything(rows)
    assert loss.requires_grad
    assert kept.bytes == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_they_are_what_autograd_keeps_in_bfloat16_of_sharded_weights(shape, team):
    network = measuring.network(**shape)
    sharding.place(network.module, compute(dtype="bfloat16"), team)
    with measuring.Kept(network.module) as kept:
        loss = measuring.loss(network.module, measuring.batch(3))
    expected = activations.kept(network, measuring.row(network), "bfloat16", "cpu").everything(3)
    assert loss.requires_grad
    assert kept.bytes == pytest.approx(expected, rel=0.02)


ADAPTERS = [
    ("to_q", "to_k", "to_v", "to_out.0"),
    ("attn1.to_q", "ffn.net.0.proj", "ffn.net.2"),
    ("attn2.to_v", "proj_out"),
]


def adapted(targets: tuple[str, ...], **shape: Any) -> networks.Network:
    return networks.with_adapter(measuring.network(**shape), AdapterParams(rank=4, alpha=4.0, targets=targets))


@pytest.mark.parametrize("targets", ADAPTERS, ids="+".join)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_beside_frozen_weights_less_is_kept(targets, dtype, team):
    network = adapted(targets, layers=8)
    sharding.place(network.module, compute(dtype=dtype), team)
    with measuring.Kept(network.module) as kept:
        loss = measuring.loss(network.module, measuring.batch(3))
    row = measuring.row(network)
    expected = activations.of(network, row, dtype, "cpu").everything(3)
    assert loss.requires_grad
    assert 0.9 < kept.bytes / expected < 1.02  # before the first of an adapter nothing is kept
    assert expected < 0.85 * activations.kept(network, row, dtype, "cpu").everything(3)


def test_what_moves_the_time_s_embedding_is_estimated_as_all_weights_are():
    network = adapted(("time_proj", "to_q"))
    row = measuring.row(network)
    assert activations.of(network, row, "float32", "cpu") == activations.kept(network, row, "float32", "cpu")


@pytest.mark.parametrize(("dtype", "layers"), [("float32", 3), ("bfloat16", 5)])
def test_inputs_of_blocks_are_all_that_recomputation_keeps(dtype, layers, team):
    """But for the one block that is computed again, which is not there yet after the forward pass.

    Angles are held by what computes blocks again, where autograd's hooks do not see them.
    """
    network = measuring.network(layers=layers)
    sharding.place(network.module, compute(dtype=dtype, recompute=True), team)
    with measuring.Kept(network.module) as kept:
        loss = measuring.loss(network.module, measuring.batch(3))
    found = activations.kept(network, measuring.row(network), dtype, "cpu")
    assert loss.requires_grad
    assert kept.bytes + found.shared == pytest.approx(found.recomputed(3) - 3 * found.block, rel=0.01)


@pytest.mark.parametrize("beside", [False, True])
def test_the_formula_that_is_shown_gives_the_number(beside):
    network = adapted(ADAPTERS[1]) if beside else measuring.network()
    found = activations.of(network, measuring.row(network), "float32", "cpu")
    for shown, number in ((found.block_formula, found.block), (found.ends_formula, found.ends)):
        plain = "".join(
            character for character in shown.replace("×", "*") if not character.isalpha() and character != ","
        )
        assert eval(plain) == number  # noqa: S307


def test_a_gpu_s_norms_keep_less():
    network = measuring.network()
    row = measuring.row(network)
    for dtype in ("float32", "bfloat16"):
        on_cpu, on_gpu = (activations.kept(network, row, dtype, device) for device in ("cpu", "cuda"))
        assert on_gpu.block < on_cpu.block
        assert on_gpu.ends == on_cpu.ends


def test_attention_keeps_nothing_of_n_by_n():
    network = measuring.network()
    row = measuring.row(network)
    twice = activations.Row(tokens=2 * row.tokens, text=row.text, values=2 * row.values)
    once, double = (activations.kept(network, of, "float32", "cpu").everything(1) for of in (row, twice))
    assert double < 2 * once
