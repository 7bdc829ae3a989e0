"""AdamW with means of 8 bits: nearly its steps, a quarter of its memory, the same for any number of processes."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.distributed import checkpoint
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from frostline import eight_bit, randomness
from frostline.eight_bit import AdamW8
from tests import processes
from tests.waiting import SECONDS

CPU = torch.device("cpu")
SHAPES = [(30, 300), (64, 64), (64, 16, 2, 2, 2), (9, 512), (700, 8), (1, 5000)]  # the last: all of it on one of two


def weights(shapes=SHAPES):
    return [nn.Parameter(randomness.normal(shape, "weights", number)) for number, shape in enumerate(shapes)]


def adamw(parameters, rate=0.01):
    return AdamW8(parameters, lr=rate, betas=(0.9, 0.95), weight_decay=0.1)


def exact(parameters, rate=0.01):
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.95), weight_decay=0.1, foreach=False, fused=False)


def steps(optimizer, numbers):
    """Along gradients that depend on the step and change their sizes from row to row."""
    [group] = optimizer.param_groups
    for step in numbers:
        for number, parameter in enumerate(group["params"]):
            sizes = torch.logspace(-4, 0, parameter.shape[0]).view(-1, *[1] * (parameter.ndim - 1))
            parameter.grad = randomness.normal(tuple(parameter.shape), "gradient", step, number) * sizes
        optimizer.step()


def far(one, other, start):
    """How far two ways from a start ended from each other, of the way."""
    one, other, start = ([parameter.detach() for parameter in named] for named in (one, other, start))
    apart = sum((a - b).double().square().sum() for a, b in zip(one, other, strict=True))
    way = sum((b - c).double().square().sum() for b, c in zip(other, start, strict=True))
    return float(apart / way) ** 0.5


@pytest.mark.parametrize("signed", [True, False])
def test_a_number_is_rounded_to_the_nearest_of_256_levels(signed):
    known = eight_bit.levels(CPU, signed=signed)
    assert known.unique().numel() == 256
    assert {0.0, 1.0} <= set(known.tolist())
    assert known.min() == (pytest.approx(-0.993, abs=1e-3) if signed else 0.0)
    numbers = randomness.normal((5, 300), "numbers") * torch.logspace(-6, 6, 5).unsqueeze(1)
    numbers = numbers if signed else numbers.square()
    codes, scale = eight_bit.rounded(numbers, signed=signed)
    assert (codes.dtype, tuple(codes.shape), tuple(scale.shape)) == (torch.uint8, (5, 300), (5, 2))
    assert torch.equal(scale, torch.stack([numbers[:, :256].abs().amax(1), numbers[:, 256:].abs().amax(1)], dim=1))
    found = eight_bit.whole(codes, scale, signed=signed)
    each = scale.repeat_interleave(256, dim=1)[:, :300].unsqueeze(-1)
    nearest = (numbers.unsqueeze(-1) - each * known).abs().amin(-1)
    torch.testing.assert_close((numbers - found).abs(), nearest, rtol=1e-3, atol=1e-7 * float(numbers.abs().max()))


def test_nothing_is_rounded_to_nothing():
    codes, scale = eight_bit.rounded(torch.zeros(2, 10), signed=True)
    assert torch.equal(eight_bit.whole(codes, scale, signed=True), torch.zeros(2, 10))


def test_the_first_step_is_that_of_adamw_and_later_ones_stay_near_it():
    start, ours, theirs = weights(), weights(), weights()
    steps(adamw(ours), range(1))
    steps(exact(theirs), range(1))
    assert far(ours, theirs, start) < 1e-6
    ours, theirs = weights(), weights()
    steps(adamw(ours), range(40))
    steps(exact(theirs), range(40))
    assert 1e-4 < far(ours, theirs, start) < 0.03


def test_what_is_small_keeps_float32_and_adamw_s_bits():
    ours, theirs = (weights([(100,), (3, 5), (1000, 7)]) for _ in range(2))
    made = adamw(ours)
    steps(made, range(5))
    steps(exact(theirs), range(5))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert {tensor.dtype for state in made.state.values() for tensor in state.values()} == {torch.float32}


def test_means_take_a_quarter():
    made = adamw(weights([(64, 1024)]))
    steps(made, range(1))
    [state] = made.state.values()
    assert sum(tensor.nbytes for name, tensor in state.items() if name != "step") == 2 * (64 * 1024 + 4 * 64 * 4)


def test_rows_move_alike_alone_together_and_however_many_at_a_time(monkeypatch):
    together = weights([(64, 300)])
    halves = [nn.Parameter(part.clone()) for part in together[0].detach().split(32)]
    gradients = [randomness.normal((64, 300), "gradient", step) for step in range(3)]
    for most in (1 << 24, 700):
        monkeypatch.setattr(eight_bit, "TOGETHER", most)
        one, other = adamw(together), adamw(halves)
        for gradient in gradients:
            together[0].grad = gradient
            for half, part in zip(halves, gradient.split(32), strict=True):
                half.grad = part
            one.step()
            other.step()
            assert torch.equal(together[0], torch.cat([half.detach() for half in halves]))
    assert not torch.equal(together[0], weights([(64, 300)])[0])


def _of_two(rank: int, folder: str) -> None:
    """Three steps of matrices whose rows two processes share unevenly, saved by both."""
    store = distributed.FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    spread = [nn.Parameter(distribute_tensor(whole.detach(), mesh, [Shard(0)])) for whole in weights()]
    made = adamw(spread)
    for step in range(3):
        for number, parameter in enumerate(spread):
            gradient = randomness.normal(tuple(parameter.shape), "gradient", step, number)
            parameter.grad = distribute_tensor(gradient, mesh, [Shard(0)])
        made.step()
    checkpoint.save({"all": _named(made)}, checkpoint_id=f"{folder}/saved")
    distributed.destroy_process_group()


def _named(made: AdamW8) -> dict[str, torch.Tensor]:
    parameters = made.param_groups[0]["params"]
    named = {f"{number}.weights": parameter.detach() for number, parameter in enumerate(parameters)}
    states = ((number, made.state[parameter]) for number, parameter in enumerate(parameters))
    return named | {f"{number}.{name}": tensor for number, state in states for name, tensor in state.items()}


def test_one_process_reads_what_two_have_made_and_would_have_made_the_same(tmp_path: Path):
    started = [processes.start(_of_two, rank, str(tmp_path)) for rank in range(2)]
    alone = weights()
    made = adamw(alone)
    for step in range(3):
        for number, parameter in enumerate(alone):
            parameter.grad = randomness.normal(tuple(parameter.shape), "gradient", step, number)
        made.step()
    expected = {name: tensor.clone() for name, tensor in _named(made).items()}
    for process in started:
        process.join(SECONDS)
        assert process.exitcode == 0
    found = {name: torch.zeros_like(tensor) for name, tensor in expected.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        checkpoint.load({"all": found}, checkpoint_id=tmp_path / "saved", no_dist=True)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert any(name.endswith("codes") for name in expected)
