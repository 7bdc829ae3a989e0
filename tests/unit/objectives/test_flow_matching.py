import torch
from torch import nn

from frostline import objectives, path, randomness
from frostline.dataset import Batch
from frostline.objectives import flow_matching
from tests import tiny

CLEAN, NOISE = (randomness.normal((3, 4, 1, 2, 2), name) for name in ("clean", "noise"))
SIGMA = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)


class Oracle(nn.Module):
    """Knows the answer, plus an error per row; remembers what it was asked."""

    def __init__(self, error=(0.0, 0.0, 0.0)):
        super().__init__()
        self.error = torch.tensor(error)

    def forward(self, noised, timestep, text, return_dict):
        self.asked = noised, timestep, text
        return (path.velocity(CLEAN, NOISE) + self.error.view(-1, 1, 1, 1, 1),)


def batch():
    text = randomness.normal((3, 6, 8), "text")
    return Batch(rows=(0, 1, 2), clean=CLEAN, text=text, dropped=torch.zeros(3, dtype=torch.bool))


def test_the_exact_velocity_has_no_loss():
    assert not flow_matching.objective(tiny.process())(Oracle(), batch(), NOISE, SIGMA).any()


def test_each_row_has_its_own_mean_squared_error():
    losses = flow_matching.objective(tiny.process())(Oracle((0.0, 1.0, -2.0)), batch(), NOISE, SIGMA)
    torch.testing.assert_close(losses, torch.tensor([0.0, 1.0, 4.0]))


def test_the_network_is_asked_on_the_path_at_its_timestep():
    oracle = Oracle()
    flow_matching.objective(tiny.process())(oracle, batch(), NOISE, SIGMA)
    noised, timestep, text = oracle.asked
    torch.testing.assert_close(noised[0], 0.9 * CLEAN[0] + 0.1 * NOISE[0])
    torch.testing.assert_close(noised[2], NOISE[2])
    assert timestep.tolist() == [100.0, 500.0, 1000.0]
    assert torch.equal(text, batch().text)


def test_errors_are_measured_in_float32():
    half = torch.full((2, 3), 1.0, dtype=torch.bfloat16)
    found = objectives.squared_error(half, torch.full((2, 3), 1.001))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.full((2,), 1e-6), rtol=1e-2, atol=0)
