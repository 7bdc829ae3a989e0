import itertools
import math

import pytest
import torch

from frostline import exact, path, schedule
from frostline.errors import WrongUse

D = 192
GAUSSIAN = exact.Gaussian(mean=1.5, std=0.5)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(sigma, rows):
    return torch.full((rows,), sigma, dtype=torch.float64)


@pytest.fixture(scope="module")
def teacher():
    return exact.mixture(classes=5, components=3, dimensions=D, generator=torch.Generator().manual_seed(7), spread=2.0)


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_gaussian_velocity_is_the_best_linear_predictor(sigma):
    """With this many draws, regression of noise - clean on noised must find the closed form's slope and intercept."""
    noise = normal(400_000)
    clean = GAUSSIAN.mean + GAUSSIAN.std * normal(400_000, seed=1)
    noised = path.noised(clean, noise, torch.tensor(sigma, dtype=torch.float64))
    target = path.velocity(clean, noise)
    centred = noised - noised.mean()
    slope = float((centred * target).mean() / centred.square().mean())
    at = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    ours = GAUSSIAN.velocity(at, same(sigma, 2)).flatten()
    assert float(ours[1] - ours[0]) == pytest.approx(slope, abs=0.02)
    assert float(ours[0]) == pytest.approx(float(target.mean() - slope * noised.mean()), abs=0.03)


@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (0.8, 0.3), (0.2, 0.9)])
def test_gaussian_flow_follows_the_velocity(start, end):
    point = normal(4, 2, 8, 8)
    ours = GAUSSIAN.flow(point, same(start, 4), same(end, 4))
    reference = exact.integrate(GAUSSIAN.velocity, point, start, end, 400)
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-8)


def test_gaussian_endpoint_is_the_flow_to_zero():
    noise = normal(4, D)
    torch.testing.assert_close(GAUSSIAN.flow(noise, same(1.0, 4), same(0.0, 4)), GAUSSIAN.endpoint(noise))


def test_mean_velocity_jumps_to_where_the_flow_goes():
    point, start, end = normal(4, D), same(0.9, 4), same(0.2, 4)
    jump = path.moved(point, GAUSSIAN.mean_velocity(point, start, end), start, end)
    torch.testing.assert_close(jump, GAUSSIAN.flow(point, start, end))


def test_mean_velocity_over_a_short_way_is_the_velocity():
    point, sigma = normal(4, D), same(0.6, 4)
    torch.testing.assert_close(
        GAUSSIAN.mean_velocity(point, sigma, sigma - 1e-6), GAUSSIAN.velocity(point, sigma), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.7, 0.95])
def test_mixture_velocity_belongs_to_the_gradient_of_its_density(teacher, sigma):
    clean, _ = teacher.draw(16, torch.Generator().manual_seed(2))
    point = path.noised(clean, normal(16, D), same(sigma, 16)).requires_grad_()
    (score,) = torch.autograd.grad(teacher.log_density(point, same(sigma, 16)).sum(), point)
    ours = path.score(point, teacher.velocity(point, same(sigma, 16)), same(sigma, 16))
    torch.testing.assert_close(ours, score, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0])
def test_mixture_of_one_component_is_the_gaussian(sigma):
    one = exact.Mixture(
        means=torch.full((1, D), 1.5, dtype=torch.float64),
        stds=torch.tensor([0.5], dtype=torch.float64),
        weights=torch.ones(1, dtype=torch.float64),
        labels=torch.zeros(1, dtype=torch.int64),
    )
    point = normal(4, D)
    torch.testing.assert_close(one.velocity(point, same(sigma, 4)), GAUSSIAN.velocity(point, same(sigma, 4)))


def test_mixture_density_integrates_to_one():
    """Importance sampling in few dimensions from a normal wide enough to cover the mixture."""
    small = exact.mixture(classes=2, components=2, dimensions=2, generator=torch.Generator().manual_seed(0))
    points = 3.0 * normal(200_000, 2)
    log_proposal = -0.5 * (points / 3).square().sum(1) - 2 * math.log(3) - math.log(2 * math.pi)
    weight = torch.exp(small.log_density(points, torch.tensor(0.3, dtype=torch.float64)) - log_proposal)
    assert float(weight.mean()) == pytest.approx(1.0, abs=0.02)


def test_classes_mix_to_the_whole_by_their_posterior(teacher):
    sigma, point = same(0.6, 8), normal(8, D)
    classes = teacher.labels.unique().tolist()
    parts = [teacher.of_class(label) for label in classes]
    prior = torch.stack([teacher.weights[teacher.labels == label].sum() for label in classes]).log()
    posterior = torch.softmax(prior + torch.stack([part.log_density(point, sigma) for part in parts], 1), 1)
    mixed = sum(posterior[:, i, None] * part.velocity(point, sigma) for i, part in enumerate(parts))
    torch.testing.assert_close(mixed, teacher.velocity(point, sigma))


def test_a_batch_is_guided_row_by_row_towards_its_own_classes(teacher):
    sigma, point, labels = same(0.9, 5), normal(5, D), torch.tensor([3, 0, 3, 1, 4])
    null = teacher.velocity(point, sigma)
    own = torch.cat([teacher.of_class(int(k)).velocity(point[[i]], sigma[[i]]) for i, k in enumerate(labels)])
    torch.testing.assert_close(teacher.guided(labels, 1.0)(point, sigma), own)
    torch.testing.assert_close(teacher.guided(labels, 0.0)(point, sigma), null)
    torch.testing.assert_close(teacher.guided(labels, 2.0)(point, sigma), 2 * own - null)
    assert float((own - null).abs().max()) > 0.1


def test_flow_of_a_class_ends_on_its_components(teacher):
    part = teacher.of_class(3)
    ends = exact.integrate(part.velocity, normal(64, D), 1.0, 0.0, 100)
    distance = (ends[:, None] - part.means).square().mean(-1) / part.stds**2  # 1 at the right component
    nearest = distance.min(1)
    assert float((nearest.values - 1.0).abs().max()) < 0.5
    shares = torch.bincount(nearest.indices, minlength=3) / 64
    assert float((shares - part.weights).abs().max()) < 0.2


def test_runge_kutta_is_of_fourth_order():
    point = normal(2, D)
    right = GAUSSIAN.endpoint(point)
    errors = [
        float((exact.integrate(GAUSSIAN.velocity, point, 1.0, 0.0, n) - right).square().mean().sqrt())
        for n in (20, 40, 80)
    ]
    assert all(3.5 < math.log2(a / b) < 5.0 for a, b in itertools.pairwise(errors))


def test_heun_is_of_second_order():
    point = normal(2, D)
    right = GAUSSIAN.endpoint(point)
    marks = [schedule.grid(n, 1.0) for n in (20, 40, 80)]
    errors = [float((exact.heun(GAUSSIAN.velocity, point, m) - right).square().mean().sqrt()) for m in marks]
    assert all(1.7 < math.log2(a / b) < 2.5 for a, b in itertools.pairwise(errors))


def test_latents_of_any_shape_and_precision(teacher):
    point = normal(4, 12, 1, 4, 4).float()
    velocity = teacher.velocity(point, torch.tensor(0.5))
    assert (velocity.shape, velocity.dtype) == (point.shape, torch.float32)


def test_draws_have_the_mixture_s_mean(teacher):
    clean, labels = teacher.draw(4000, torch.Generator().manual_seed(1))
    assert clean.shape == (4000, D)
    assert set(labels.tolist()) == {0, 1, 2, 3, 4}
    mean = (teacher.weights[:, None] * teacher.means).sum(0)
    assert float((clean.mean(0) - mean).square().mean().sqrt()) < 0.1


def test_an_absent_class_is_an_error(teacher):
    with pytest.raises(WrongUse, match="class 9"):
        teacher.of_class(9)
    with pytest.raises(WrongUse, match="class 9"):
        teacher.guided(torch.tensor([0, 9]), 2.0)
