"""Distribution matching between Gaussians, where the direction of every gradient is known."""

import torch

from frostline import exact, path, randomness
from frostline.objectives import distribution_matching

D = 128
TEACHER = exact.Gaussian(mean=1.5, std=0.5)
NOISE = randomness.normal((8, D), "noise").double()


def matched(fake, clean, sigma=0.5):
    at = torch.full((len(clean),), sigma, dtype=torch.float64)
    return distribution_matching.gradient(TEACHER.velocity, fake.velocity, clean, NOISE[: len(clean)], at)


def test_descent_leads_to_the_teacher():
    """Samples of a student whose mean is too small move up, of one too large down, of the right one nowhere."""
    for mean, sign in [(0.5, -1.0), (2.5, 1.0)]:
        fake = exact.Gaussian(mean=mean, std=0.5)
        found = matched(fake, fake.endpoint(NOISE))
        assert bool((torch.sign(found) == sign).all())
    assert matched(TEACHER, TEACHER.endpoint(NOISE)).abs().max() < 1e-12


def test_gradients_are_in_each_row_s_own_size():
    fake, clean = exact.Gaussian(mean=0.5, std=0.5), TEACHER.endpoint(NOISE)
    sigma = torch.full((8,), 0.5, dtype=torch.float64)
    noised = path.noised(clean, NOISE, sigma)
    real, made = (path.clean(noised, of.velocity(noised, sigma), sigma) for of in (TEACHER, fake))
    size = (clean - real).abs().mean(1, keepdim=True)
    torch.testing.assert_close(matched(fake, clean), (made - real) / size)


def test_the_loss_has_that_gradient_and_no_other():
    fake, clean = exact.Gaussian(mean=0.5, std=0.5), TEACHER.endpoint(NOISE).requires_grad_()
    sigma = torch.full((8,), 0.5, dtype=torch.float64)
    losses = distribution_matching.losses(TEACHER.velocity, fake.velocity, clean, NOISE, sigma)
    assert losses.shape == (8,)
    (found,) = torch.autograd.grad(losses.sum(), clean)
    torch.testing.assert_close(found, matched(fake, clean.detach()) / D, rtol=1e-5, atol=1e-8)
