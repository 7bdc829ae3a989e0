"""Discrete consistency against a Gaussian teacher, whose clean ends are known."""

import pytest
import torch

from frostline import exact, path, randomness, schedule, transformer
from frostline.dataset import Batch
from frostline.objectives import consistency, teaching
from tests import tiny

D = 128
GAUSSIAN = exact.Gaussian(mean=1.5, std=0.5)
NOISED = randomness.normal((4, D), "noised").double()
SIGMA = torch.tensor([1.0, 0.9, 0.5, 0.01], dtype=torch.float64)


def right(noised, sigma):
    """The consistency function of the exact flow, as a velocity."""
    at_zero = sigma == 0
    sigma = torch.where(at_zero, 1e-3, sigma)
    return GAUSSIAN.mean_velocity(noised, sigma, torch.zeros_like(sigma))


def losses(student, average, steps=consistency.STEPS):
    here, following = consistency.neighbours(SIGMA, 5.0, steps)
    return consistency.losses(student, average, GAUSSIAN.velocity, NOISED, here, following)


def test_the_exact_consistency_function_has_the_loss_of_one_teacher_step():
    coarse, fine = (losses(right, right, steps).sqrt().max() for steps in (48, 480))
    assert coarse < 0.1
    assert fine < coarse / 5


def test_a_student_that_ends_elsewhere_has_a_loss():
    assert losses(GAUSSIAN.velocity, right)[0] > 0.05


def test_the_target_is_the_average_s_and_gets_no_gradient():
    student, average = (torch.nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in (1.0, 2.0))
    losses(lambda x, s: student * x, lambda x, s: average * x).sum().backward()
    assert student.grad is not None
    assert average.grad is None
    other = losses(lambda x, s: 1.0 * x, lambda x, s: 1.0 * x)
    assert not torch.allclose(losses(lambda x, s: 1.0 * x, lambda x, s: 2.0 * x), other)


def test_the_last_target_is_the_teacher_s_own_end():
    here, following = consistency.neighbours(torch.tensor([1e-4], dtype=torch.float64), 5.0)
    assert float(following) == 0.0
    velocity = GAUSSIAN.velocity(NOISED[:1], here)
    found = consistency.losses(
        lambda *_: velocity, lambda x, s: 1e6 * x, GAUSSIAN.velocity, NOISED[:1], here, following
    )
    assert float(found) < 1e-20


def test_students_are_asked_on_the_grid_at_or_above_what_was_drawn():
    drawn = schedule.draw_uniform(1000, 5.0, torch.Generator().manual_seed(0))
    here, following = consistency.neighbours(drawn, 5.0)
    grid = schedule.grid(consistency.STEPS, 5.0)
    assert set(here.tolist()) <= set(grid[:-1].tolist())
    assert bool(((here >= drawn) & (following < drawn)).all())
    index = torch.stack([(grid == sigma).nonzero()[0, 0] for sigma in here])
    assert torch.equal(grid[index + 1], following)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_the_sampler_s_sigmas_are_among_those_trained(steps):
    visited = schedule.grid(steps, 5.0)[:-1]
    here, _ = consistency.neighbours(visited, 5.0)
    torch.testing.assert_close(here, visited, rtol=0, atol=1e-15)


def test_pure_noise_is_asked_at_sigma_one_only():
    here, _ = consistency.neighbours(torch.tensor([1.0, 0.999], dtype=torch.float64), 1.0)
    assert here.tolist() == [1.0, 1.0]
    assert path.noised(NOISED[:1], NOISED[1:2], here[:1]).equal(NOISED[1:2])


def test_a_batch_is_asked_on_the_grid_of_its_process():
    student, average, teacher = (tiny.network(seed) for seed in range(3))
    null, text = randomness.normal((1, 6, 8), "null"), randomness.normal((2, 6, 8), "text")
    clean, noise = (randomness.normal((2, 4, 1, 2, 2), name) for name in ("clean", "noise"))
    batch = Batch(rows=(0, 1), clean=clean, text=text, dropped=torch.zeros(2, dtype=torch.bool))
    taught = teaching.guided(tiny.process(), teacher=teacher, null=null, scale=2.0, interval=(0.0, 1.0))
    objective = consistency.objective(tiny.process(), taught=taught, average=average)
    drawn = torch.tensor([0.33, 0.95], dtype=torch.float64)
    here, following = consistency.neighbours(drawn, tiny.process().shift)
    noised = path.noised(clean, noise, here)
    asked, target = (transformer.velocity_fn(of, text, tiny.process()) for of in (student, average))
    expected = consistency.losses(asked, target, taught(batch), noised, here, following)
    torch.testing.assert_close(objective(student, batch, noise, drawn), expected)
