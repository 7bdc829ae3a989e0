"""Backward simulation: a student learns where its sampler will take it."""

import pytest
import torch

from frostline import contract, randomness, sampling
from frostline.dataset import Batch
from frostline.errors import WrongUse
from frostline.objectives import simulation
from frostline.objectives.times import Simulated
from tests import tiny

D = 128
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


def fresh(seed):
    """What is added after each step, from one generator as the sampler draws it."""
    generator = torch.Generator().manual_seed(seed)
    return lambda _: torch.randn(NOISE.shape, generator=generator, dtype=NOISE.dtype)


def test_the_last_simulated_step_makes_what_the_sampler_makes():
    """The student is trained where its contract's sampler will show it: same noise, same fresh noise, same result."""
    sampled = sampling.sampler(record()).sample(student, NOISE, generator=torch.Generator().manual_seed(5))
    asked = simulation.simulated(student, NOISE, SIGMAS, 3, fresh(5))
    assert simulation.made(student, asked).equal(sampled)


@pytest.mark.parametrize("step", range(4))
def test_each_step_is_asked_at_its_sigma(step):
    asked = simulation.simulated(student, NOISE, SIGMAS, step, fresh(0))
    assert asked.sigma.tolist() == [float(SIGMAS[step])] * 8
    assert asked.noised.equal(NOISE) == (step == 0)  # pure noise at sigma 1 and nowhere else


def test_gradients_come_from_the_last_step_alone():
    calls = []
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)

    def watched(noised, sigma):
        calls.append(torch.is_grad_enabled())
        return scale * noised

    asked = simulation.simulated(watched, NOISE, SIGMAS, 2, fresh(0))
    made = simulation.made(watched, asked)
    assert calls == [False, False, True]
    (found,) = torch.autograd.grad(made.sum(), scale)
    torch.testing.assert_close(found, -(SIGMAS[2] * asked.noised).sum())


@pytest.mark.parametrize("step", [-1, 4])
def test_steps_that_are_not_there_are_refused(step):
    with pytest.raises(WrongUse, match="one of them"):
        simulation.simulated(student, NOISE, SIGMAS, step, fresh(0))


def test_a_list_that_does_not_begin_with_pure_noise_is_refused():
    with pytest.raises(WrongUse, match="must be 1"):
        simulation.simulated(student, NOISE, SIGMAS[1:], 0, fresh(0))


def test_a_network_is_shown_what_its_own_sampler_shows_it():
    """Every row by its own key: what else is in the batch, and on which process, changes nothing."""
    clean, text = randomness.normal((3, 4, 1, 2, 2), "clean"), randomness.normal((3, 6, 8), "text")
    network, given = (
        tiny.network(1),
        Batch(rows=(0, 1, 2), clean=clean, text=text, dropped=torch.zeros(3, dtype=torch.bool)),
    )
    noise = randomness.normal(tuple(given.clean.shape), "simulated")
    drawn = Simulated(steps=4, shift=5.0).spread(len(noise))
    sigmas = SIGMAS.tolist()
    with torch.no_grad():
        made = simulation.of_batch(network, given, noise, drawn, tiny.process(), sigmas)
        alone = simulation.of_batch(network, given.parts(len(noise))[1], noise[1:2], drawn[1:2], tiny.process(), sigmas)
    torch.testing.assert_close(made[1:2], alone)
    other = drawn.clone()
    other[:, 2] += 7
    with torch.no_grad():
        assert not torch.allclose(
            made, simulation.of_batch(network, given, noise, other, tiny.process(), sigmas), atol=1e-3
        )
