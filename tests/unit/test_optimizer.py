import math

import pytest
import torch

from frostline import contract, eight_bit, randomness
from frostline.optimizer import Optimizer
from tests import tiny


def settings(**changed):
    values = tiny.train_params().optimizer.model_dump()
    return type(tiny.train_params().optimizer)(**{**values, **changed})


def moved(network, optimizer, steps):
    """Steps along gradients that depend on the step alone."""
    for step in steps:
        for number, p in enumerate(network.parameters()):
            p.grad = randomness.normal(tuple(p.shape), "gradient", step, number)
        optimizer.clip()
        optimizer.step(step)


def test_matrices_inside_blocks_go_to_muon_and_all_else_to_adamw():
    network = tiny.network()
    optimizer = Optimizer(network, settings(), 10)
    names = {id(p): name for name, p in network.named_parameters()}
    parts = {
        part: {names[id(p)] for group in made.param_groups for p in group["params"]}
        for part, (made, _) in optimizer.parts.items()
    }
    assert parts["muon"] | parts["adamw"] == set(names.values())
    assert not parts["muon"] & parts["adamw"]
    assert "blocks.0.attn1.to_q.weight" in parts["muon"]
    assert {"proj_out.weight", "patch_embedding.weight", "blocks.0.attn1.to_q.bias"} <= parts["adamw"]


@pytest.mark.parametrize(("trained", "parts"), [("proj_out.", {"adamw"}), ("blocks.0.attn1.to_q.weight", {"muon"})])
def test_what_moves_may_be_all_outside_the_blocks_or_all_inside(trained, parts):
    network = tiny.network()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    assert set(Optimizer(network, settings(), 10).parts) == parts


@pytest.mark.parametrize("changed", [{}, {"state_bits": 8}, {"state_bits": 8, "muon_rate": None}])
def test_the_state_comes_back_to_the_bit(changed, monkeypatch):
    monkeypatch.setattr(eight_bit, "SMALLEST", 1)
    straight, broken = tiny.network(), tiny.network()
    whole = Optimizer(straight, settings(**changed), 6)
    moved(straight, whole, range(6))
    first = Optimizer(broken, settings(**changed), 6)
    moved(broken, first, range(3))
    second = Optimizer(broken, settings(**changed), 6)
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()})
    moved(broken, second, range(3, 6))
    for one, other in zip(straight.parameters(), broken.parameters(), strict=True):
        assert torch.equal(one, other)


def test_eight_bits_are_those_of_adamw_s_means(monkeypatch):
    monkeypatch.setattr(eight_bit, "SMALLEST", 1)
    network = tiny.network()
    optimizer = Optimizer(network, settings(state_bits=8), 6)
    before = {name: (tensor.dtype, tensor.shape) for name, tensor in optimizer.tensors().items()}
    moved(network, optimizer, range(1))
    after = {name: (tensor.dtype, tensor.shape) for name, tensor in optimizer.tensors().items()}
    assert before == after
    rounded = {name for name, (dtype, _) in after.items() if dtype == torch.uint8}
    assert rounded
    assert all(name.startswith("adamw.") and name.endswith(".codes") for name in rounded)


def test_bits_that_are_not_said_change_no_digest():
    plain = settings().model_dump(mode="json")
    assert "state_bits" not in plain
    assert contract.digest(settings()) == contract.digest(settings(state_bits=None))
    assert contract.digest(settings()) != contract.digest(settings(state_bits=8))


def test_a_lost_state_would_be_seen():
    straight, broken = tiny.network(), tiny.network()
    moved(straight, Optimizer(straight, settings(), 6), range(6))
    moved(broken, Optimizer(broken, settings(), 6), range(3))
    moved(broken, Optimizer(broken, settings(), 6), range(3, 6))
    assert not torch.equal(straight.proj_out.weight, broken.proj_out.weight)


def test_the_schedule_warms_up_and_ends_at_nothing():
    optimizer = Optimizer(tiny.network(), settings(warmup_steps=4), 104)
    assert [optimizer.scale(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert optimizer.scale(54) == pytest.approx(0.5)
    assert optimizer.scale(104) == pytest.approx(0.0)
    constant = Optimizer(tiny.network(), settings(warmup_steps=0, schedule="constant"), 10)
    assert [constant.scale(step) for step in (0, 9)] == [1.0, 1.0]


def test_gradients_are_clipped_and_their_norm_told():
    network = tiny.network()
    optimizer = Optimizer(network, settings(muon_rate=1e-9, adamw_rate=1e-9, clip=0.5), 10)
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    total = math.sqrt(sum(p.numel() for p in network.parameters()))
    seen = []
    adamw, _ = optimizer.parts["adamw"]
    adamw.register_step_pre_hook(lambda *_: seen.append(network.proj_out.weight.grad.max().item()))
    assert optimizer.clip().item() == pytest.approx(total, rel=1e-4)
    optimizer.step(0)
    assert seen[0] == pytest.approx(0.5 / total, rel=1e-3)
    assert network.proj_out.weight.grad is None
