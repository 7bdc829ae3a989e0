"""The flow map against a Gaussian, whose flow map is known in closed form, and against forward differentiation."""

from typing import Any

import pytest
import torch

from frostline import exact, path, randomness
from frostline.errors import WrongUse
from frostline.objectives import flow_map

# torch loads its forward derivatives with a function of its own that it calls deprecated
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

D = 128
GAUSSIAN = exact.Gaussian(mean=1.5, std=0.5)
ROWS = 6
SIGMA = torch.tensor([1.0, 0.997, 0.7, 0.5, 0.3, 0.004], dtype=torch.float64)
END = torch.tensor([0.0, 0.2, 0.0, 0.499, 0.1, 0.0], dtype=torch.float64)
NOISED = randomness.normal((ROWS, D), "noised").double()


class Waves(torch.nn.Module):
    """A smooth network of all three arguments."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Parameter(randomness.normal((D, D), "mix").double() / D**0.5)

    def forward(self, noised, sigma, end):
        return torch.sin(noised @ self.mix + 3 * sigma[:, None] - 2 * end[:, None])


def right(noised, sigma, end):
    """The exact flow map, which at end = sigma is the velocity."""
    here = (sigma - end).abs() < 1e-9
    apart = torch.where(here, sigma - 1e-4, end)
    mean = GAUSSIAN.mean_velocity(noised, sigma, apart)
    return torch.where(here[:, None], GAUSSIAN.velocity(noised, sigma), mean)


def losses(student, sigma=SIGMA, end=END, noised=NOISED, **settings):
    wanted: dict[str, Any] = {"derivative": flow_map.exact, "warmth": 1.0, "normalised": False} | settings
    return flow_map.losses(student, GAUSSIAN.velocity, noised, sigma, end, **wanted)


def test_the_exact_flow_map_has_no_loss():
    assert losses(right).max() < 1e-10


@pytest.mark.parametrize("wrong", ["sign", "forgotten"])
def test_the_derivative_has_its_sign_and_its_weight(wrong):
    warmth = {"sign": -1.0, "forgotten": 0.0}[wrong]
    assert losses(right, warmth=warmth).max() > 1e-3


def test_the_derivative_is_along_the_teacher_and_not_along_sigma_alone():
    def standing(u, noised, sigma, end, velocity):
        return flow_map.exact(u, noised, sigma, end, torch.zeros_like(velocity))

    assert losses(right, derivative=standing).max() > 1e-2


def test_where_the_end_is_the_start_the_target_is_the_velocity():
    velocity = GAUSSIAN.velocity(NOISED, SIGMA)
    assert losses(lambda *_: velocity, end=SIGMA, derivative=flow_map.difference).max() < 1e-12
    assert losses(lambda *_: velocity + 1.0, end=SIGMA).tolist() == pytest.approx([1.0] * ROWS)


def test_differences_agree_with_forward_differentiation_in_the_middle_and_at_the_ends():
    network, velocity = Waves(), GAUSSIAN.velocity(NOISED, SIGMA)
    asked = (network, NOISED, SIGMA, END, velocity)
    ours, reference = flow_map.difference(*asked), flow_map.exact(*asked)
    error = (ours - reference).square().mean(1).sqrt() / reference.square().mean(1).sqrt()
    assert error[[2, 4]].max() < 2e-3  # central: of second order
    assert error.max() < 4e-2  # one-sided: of first


def test_no_side_of_a_difference_leaves_the_way_from_end_to_one():
    seen = []

    def watching(noised, sigma, end):
        seen.append((sigma, end))
        return noised

    flow_map.difference(watching, NOISED, SIGMA, END, NOISED)
    for sigma, end in seen:
        assert bool((sigma <= 1).all())
        assert bool((sigma >= end).all())


def test_differences_are_formed_in_float64():
    """A network of float32 numbers near 1000: formed in float32, the difference would be lost in rounding."""
    big = 1000.0

    def steep(noised, sigma, _end):
        return (big + sigma[:, None].double() * 0 + noised.double()).double()

    velocity = torch.ones(ROWS, D)
    found = flow_map.difference(steep, NOISED.float(), SIGMA, END, velocity)
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-3)
    assert found.dtype == torch.float64


def test_both_sides_see_the_same_dropout_and_the_random_state_stays():
    dropout = torch.nn.Dropout(0.5).train()
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    found = flow_map.difference(lambda x, s, r: dropout(torch.ones_like(x)), NOISED, SIGMA, END, NOISED)
    assert not found.any()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_gradients_come_from_the_prediction_alone():
    network = Waves()
    losses(network, derivative=flow_map.difference).sum().backward()
    assert network.mix.grad is not None
    velocity = GAUSSIAN.velocity(NOISED, SIGMA)
    slope = flow_map.difference(network, NOISED, SIGMA, END, velocity)
    target = velocity - (SIGMA - END)[:, None] * slope
    (direct,) = torch.autograd.grad((network(NOISED, SIGMA, END) - target).square().mean(1).sum(), network.mix)
    torch.testing.assert_close(network.mix.grad, direct, rtol=1e-4, atol=1e-6)


def test_normalised_errors_keep_their_direction_and_none_exceeds_one():
    shifted = [0.0, 0.1, 1.0, 10.0, 100.0, 1000.0]

    def off(noised, sigma, end):
        return right(noised, sigma, end) + torch.tensor(shifted, dtype=torch.float64)[:, None]

    found = losses(off, normalised=True).sqrt()
    assert found.tolist() == pytest.approx([e / (e + 0.1) for e in shifted], abs=1e-3)


def test_the_derivative_warms_up():
    assert [flow_map.warmed(step, 1000) for step in (0, 250, 1000, 5000)] == [0.0, 0.25, 1.0, 1.0]
    assert flow_map.warmed(0, 0) == 1.0


def test_ends_are_drawn_in_their_shares():
    sigma = torch.rand(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e-6
    ends = flow_map.Ends(at_start=0.3, at_zero=0.2).draw(sigma, 5.0, torch.Generator().manual_seed(1))
    assert bool(((ends >= 0) & (ends <= sigma)).all())
    assert float((ends == sigma).double().mean()) == pytest.approx(0.3, abs=0.02)
    assert float((ends == 0).double().mean()) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [(flow_map.CONSISTENCY, {"zero": 1.0, "start": 0.0}), (flow_map.MEAN_FLOW, {"zero": 0.0, "start": 0.5})],
)
def test_consistency_and_mean_flow_are_settings(ends, expected):
    sigma = torch.full((4000,), 0.7, dtype=torch.float64)
    drawn = ends.draw(sigma, 1.0, torch.Generator().manual_seed(0))
    assert float((drawn == 0).double().mean()) == pytest.approx(expected["zero"], abs=0.03)
    assert float((drawn == sigma).double().mean()) == pytest.approx(expected["start"], abs=0.03)


def test_ends_between_are_uniform_before_the_shift():
    sigma = torch.ones(20_000, dtype=torch.float64)
    drawn = flow_map.Ends(at_start=0.0, at_zero=0.0).draw(sigma, 5.0, torch.Generator().manual_seed(0))
    assert float((drawn < 5 / 6).double().mean()) == pytest.approx(0.5, abs=0.02)  # shift 5 leads one half there


@pytest.mark.parametrize("shares", [(-0.1, 0.0), (0.6, 0.5)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(WrongUse, match="together at most 1"):
        flow_map.Ends(at_start=shares[0], at_zero=shares[1])


def test_jumps_of_the_exact_map_compose():
    one = path.moved(NOISED, right(NOISED, SIGMA, END), SIGMA, END)
    middle = (SIGMA + END) / 2
    half = path.moved(NOISED, right(NOISED, SIGMA, middle), SIGMA, middle)
    torch.testing.assert_close(path.moved(half, right(half, middle, END), middle, END), one)
