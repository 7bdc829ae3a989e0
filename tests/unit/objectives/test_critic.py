"""The critic's target against a mixture whose velocity is known."""

import pytest
import torch

from frostline import exact, path
from frostline.errors import WrongUse
from frostline.objectives import critic

D, N, MADE_AT = 128, 20_000, 0.5
TEACHER = exact.mixture(classes=2, components=2, dimensions=D, generator=torch.Generator().manual_seed(3))


def drawn(seed=0):
    """What a right student makes at MADE_AT, fresh noise, and sigmas above."""
    generator = torch.Generator().manual_seed(seed)
    clean, _ = TEACHER.draw(N, generator)
    first, extra = (torch.randn(N, D, dtype=torch.float64, generator=generator) for _ in range(2))
    made = path.noised(clean, first, torch.tensor(MADE_AT, dtype=torch.float64))
    sigma = MADE_AT + 0.02 + (0.98 - MADE_AT - 0.02) * torch.rand(N, dtype=torch.float64, generator=generator)
    return made, extra, sigma


def z_scores(target, noised, sigma):
    """How many standard errors the weighted target is off the known velocity, in the mean under four test functions."""
    error = critic.weight(sigma, MADE_AT)[:, None] * (target - TEACHER.velocity(noised, sigma))
    axis = TEACHER.means[0] / TEACHER.means[0].norm()
    along = (noised @ axis)[:, None]
    size = noised.square().mean(1, keepdim=True)
    found = []
    for test in (torch.ones_like(along) * axis, along * axis, noised / D**0.5, size * noised / D**0.5):
        values = (error * test).sum(1)
        found.append(float(values.mean() / (values.std() / N**0.5)))
    return torch.tensor(found).abs()


def test_the_target_is_right_in_the_mean_above_where_the_student_stops():
    made, extra, sigma = drawn()
    noised = critic.noised_on(made, extra, sigma, MADE_AT)
    assert float(z_scores(critic.target(made, extra, sigma, MADE_AT), noised, sigma).max()) < 3


def test_the_plain_target_is_wrong_there():
    made, extra, sigma = drawn()
    noised = critic.noised_on(made, extra, sigma, MADE_AT)
    assert float(z_scores(path.velocity(made, extra), noised, sigma).max()) > 8


def test_what_was_made_is_carried_to_the_same_distribution_as_data():
    """The noised points must have the mixture's own second moments at sigma."""
    made, extra, _ = drawn()
    sigma = torch.full((N,), 0.8, dtype=torch.float64)
    noised = critic.noised_on(made, extra, sigma, MADE_AT)
    clean, _ = TEACHER.draw(N, torch.Generator().manual_seed(9))
    direct = path.noised(
        clean, torch.randn(N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(8)), sigma
    )
    assert float(noised.square().mean()) == pytest.approx(float(direct.square().mean()), rel=0.01)


def test_for_clean_latents_the_target_is_the_plain_velocity():
    made, extra, sigma = drawn()
    assert critic.target(made, extra, sigma, 0.0).equal(extra - made)
    assert bool((critic.weight(sigma, 0.0) == 1).all())


def test_clean_latents_are_a_limit():
    made, extra, sigma = drawn()
    torch.testing.assert_close(critic.target(made, extra, sigma, 1e-9), extra - made, rtol=1e-5, atol=1e-5)


def test_no_gradient_reaches_what_the_student_made():
    made = torch.zeros(4, D, requires_grad=True)
    scale = torch.ones((), requires_grad=True)
    extra, sigma = torch.ones(4, D), torch.full((4,), 0.7)
    critic.losses(lambda x, s: scale * x, made * 2, extra, sigma, 0.0).sum().backward()
    assert made.grad is None
    assert scale.grad is not None


def test_the_right_critic_loses_no_more_than_any_other():
    made, extra, sigma = drawn()
    right = critic.losses(TEACHER.velocity, made, extra, sigma, MADE_AT).mean()
    off = critic.losses(lambda x, s: 0.95 * TEACHER.velocity(x, s), made, extra, sigma, MADE_AT).mean()
    assert float(right) < float(off)


@pytest.mark.parametrize(("made_at", "sigma"), [(0.5, 0.5), (0.5, 0.3), (1.0, 0.9)])
def test_sigmas_to_which_no_noise_leads_are_refused(made_at, sigma):
    with pytest.raises(WrongUse, match="draw sigmas above it"):
        critic.target(torch.zeros(2, D), torch.ones(2, D), torch.full((2,), sigma), made_at)
