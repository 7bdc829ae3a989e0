"""Distribution matching between Gaussians, where the direction of every gradient is known."""

import pytest
import torch

from frostline import contract, exact, path, randomness, sampling
from frostline.errors import WrongUse
from frostline.objectives import distribution_matching

D = 128
TEACHER = exact.Gaussian(mean=1.5, std=0.5)
SIGMAS = torch.tensor([1.0, 0.9375, 0.8333, 0.625], dtype=torch.float64)
NOISE = randomness.normal((8, D), "noise").double()


def student(noised, sigma):
    """Of no meaning, but another velocity at every sigma."""
    return torch.tanh(noised) + sigma[:, None]


def record():
    return contract.Sampling(
        sampler="renoise",
        rounds_timesteps=False,
        steps=4,
        allowed_steps=(4,),
        shift=5.0,
        allowed_shifts=(5.0,),
        sigmas=tuple(SIGMAS.tolist()),
        guidance=2.0,
        guidance_form="folded",
        teacher_digest=None,
    )


def test_the_last_simulated_step_makes_what_the_sampler_makes():
    """The student is trained where its contract's sampler will show it: same noise, same fresh noise, same result."""
    sampled = sampling.sampler(record()).sample(student, NOISE, generator=torch.Generator().manual_seed(5))
    asked = distribution_matching.simulated(student, NOISE, SIGMAS, 3, torch.Generator().manual_seed(5))
    assert distribution_matching.made(student, asked).equal(sampled)


@pytest.mark.parametrize("step", range(4))
def test_each_step_is_asked_at_its_sigma(step):
    asked = distribution_matching.simulated(student, NOISE, SIGMAS, step, torch.Generator().manual_seed(0))
    assert asked.sigma.tolist() == [float(SIGMAS[step])] * 8
    assert asked.noised.equal(NOISE) == (step == 0)  # pure noise at sigma 1 and nowhere else


def test_gradients_come_from_the_last_step_alone():
    calls = []
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)

    def watched(noised, sigma):
        calls.append(torch.is_grad_enabled())
        return scale * noised

    asked = distribution_matching.simulated(watched, NOISE, SIGMAS, 2, torch.Generator().manual_seed(0))
    made = distribution_matching.made(watched, asked)
    assert calls == [False, False, True]
    (found,) = torch.autograd.grad(made.sum(), scale)
    torch.testing.assert_close(found, -(SIGMAS[2] * asked.noised).sum())


@pytest.mark.parametrize("step", [-1, 4])
def test_steps_that_are_not_there_are_refused(step):
    with pytest.raises(WrongUse, match="one of them"):
        distribution_matching.simulated(student, NOISE, SIGMAS, step, torch.Generator())


def test_a_list_that_does_not_begin_with_pure_noise_is_refused():
    with pytest.raises(WrongUse, match="must be 1"):
        distribution_matching.simulated(student, NOISE, SIGMAS[1:], 0, torch.Generator())


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


def test_teacher_and_critic_are_compared_away_from_both_ends():
    drawn = distribution_matching.draw_sigma(20_000, 5.0, torch.Generator().manual_seed(0))
    assert float(drawn.min()) >= 0.02
    assert float(drawn.max()) == 0.98
    assert float((drawn < 5 / 6).double().mean()) == pytest.approx(0.5, abs=0.02)
