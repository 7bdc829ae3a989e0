import itertools

import torch

from frostline import exact, randomness
from frostline.objectives import inputs

D = 128
GAUSSIAN = exact.Gaussian(mean=1.5, std=0.5)
NOISE = randomness.normal((4, D), "noise").double()
SIGMA = torch.tensor([1.0, 0.8, 0.4, 0.0], dtype=torch.float64)


def test_each_row_is_carried_to_its_own_sigma():
    ours = inputs.rolled_out(GAUSSIAN.velocity, NOISE, SIGMA, steps=2000, shift=1.0)
    torch.testing.assert_close(ours, GAUSSIAN.flow(NOISE, torch.ones(4).double(), SIGMA), rtol=0, atol=3e-3)


def test_pure_noise_stays_at_sigma_one_alone():
    ours = inputs.rolled_out(GAUSSIAN.velocity, NOISE, SIGMA, steps=3, shift=5.0)
    assert ours[0].equal(NOISE[0])
    assert bool(((ours[1:] - NOISE[1:]).abs().mean(1) > 0.05).all())


def test_the_velocity_is_asked_on_the_way_and_without_gradients():
    seen = []

    def watched(noised, sigma):
        seen.append((sigma, torch.is_grad_enabled()))
        return GAUSSIAN.velocity(noised, sigma)

    inputs.rolled_out(watched, NOISE, SIGMA, steps=4, shift=5.0)
    assert seen[0][0].tolist() == [1.0] * 4
    assert not any(enabled for _, enabled in seen)
    for (before, _), (after, _) in itertools.pairwise(seen):
        assert bool((after <= before).all())
        assert bool((after >= SIGMA).all())
