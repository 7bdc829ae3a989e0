"""Each metric against an independent formula in numpy or scipy, and against what it must notice."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from frostline import metrics, randomness
from frostline.errors import WrongUse


def gaussian(n: int, *key: int, mean: float = 0.0, scale: float = 1.0, width: int = 6) -> torch.Tensor:
    mixing = randomness.normal((width, width), "mixing", width)
    return randomness.normal((n, width), "rows", *key) @ mixing * scale + mean


def frechet_by_square_root(a: np.ndarray, b: np.ndarray) -> float:
    root = np.real(np.asarray(scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T))))
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root))


def test_frechet_equals_the_matrix_square_root_form():
    a, b = gaussian(300, 1), gaussian(200, 2, mean=0.3, scale=1.4)
    known = frechet_by_square_root(a.double().numpy(), b.double().numpy())
    assert metrics.frechet(a, b) == pytest.approx(known, rel=1e-9)


def test_frechet_of_known_gaussians():
    rows = torch.tensor([[-1.0], [1.0]]).repeat(500, 1)  # mean 0
    assert metrics.frechet(rows, rows * 3 + 2) == pytest.approx(4 + (3 - 1) ** 2 * float(rows.double().var()), rel=1e-9)


def test_frechet_of_a_set_with_itself_is_nothing():
    a = gaussian(100, 3)
    assert abs(metrics.frechet(a, a)) < 1e-9


@pytest.mark.parametrize(("a", "b"), [((1, 4), (9, 4)), ((9, 4), (9, 5)), ((9,), (9,))])
def test_frechet_refuses_what_has_no_covariance(a: tuple[int, ...], b: tuple[int, ...]):
    with pytest.raises(WrongUse, match=r"N >= 2"):
        metrics.frechet(torch.zeros(a), torch.zeros(b))


def test_accuracy_is_the_share_of_equal_classes():
    wanted = torch.arange(10).repeat(20)
    found = torch.where(torch.arange(200) % 8 == 0, -1, wanted)
    assert metrics.accuracy(found, wanted) == metrics.proportion(175 / 200, 200)


@pytest.mark.parametrize(("hits", "n"), [(0, 30), (499, 500), (500, 500), (123, 1000)])
def test_proportion_is_the_wilson_interval(hits: int, n: int):
    found, known = metrics.proportion(hits / n, n), scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-12)
    assert found.error == pytest.approx(np.sqrt(hits / n * (1 - hits / n) / n))


def test_bootstrap_of_a_mean_has_its_known_error_and_repeats():
    rows = gaussian(800, 5, width=1)
    found = metrics.bootstrap(lambda x: float(x.mean()), [rows], randomness.generator("b"), draws=400)
    assert found.value == pytest.approx(float(rows.mean()))
    assert found.error == pytest.approx(float(rows.std()) / np.sqrt(800), rel=0.15)
    assert found.high - found.low == pytest.approx(2 * 1.96 * found.error, rel=0.15)
    assert found == metrics.bootstrap(lambda x: float(x.mean()), [rows], randomness.generator("b"), draws=400)


def test_bootstrap_interval_holds_the_value_of_a_biased_statistic():
    a, b = gaussian(400, 6), gaussian(400, 7)
    found = metrics.bootstrap(metrics.frechet, [a, b], randomness.generator("f"), draws=60)
    assert found.low < found.value < found.high


def test_bootstrap_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    metrics.bootstrap(lambda x: float(x.mean()), [torch.ones(4, 1)], randomness.generator("g"), draws=2)
    assert torch.equal(before, torch.get_rng_state())


def test_diversity_is_the_root_mean_square_pair_distance():
    features, labels = gaussian(60, 8), torch.arange(60) % 3
    by_pairs = []
    for label in range(3):
        rows = features[labels == label].double().numpy()
        squared = np.square(rows[:, None] - rows[None]).sum(-1)
        by_pairs.append(np.sqrt(squared[~np.eye(len(rows), dtype=bool)].mean()))
    assert metrics.within_class_diversity(features, labels) == pytest.approx(float(np.mean(by_pairs)), rel=1e-9)


def test_diversity_sees_collapse_that_class_means_hide():
    labels = torch.arange(40) % 4
    one_per_class = gaussian(4, 9)[labels]
    assert metrics.within_class_diversity(one_per_class, labels) == pytest.approx(0, abs=1e-6)


def test_diversity_refuses_a_class_of_one():
    with pytest.raises(WrongUse, match="at least two per class"):
        metrics.within_class_diversity(torch.zeros(3, 2), torch.tensor([0, 0, 1]))


def test_latent_spread_equals_numpy():
    latents = randomness.normal((5, 3, 2, 4, 4), "latents") + torch.tensor([0.0, 0.7, -0.2])[:, None, None, None]
    array = latents.double().numpy()
    found = metrics.latent_spread(latents)
    assert found["mean"] == pytest.approx(array.mean())
    assert found["std"] == pytest.approx(array.std(ddof=1))
    assert found["channel_mean_max"] == pytest.approx(np.abs(array.mean(axis=(0, 2, 3, 4))).max())


def test_saturation_counts_white_only():
    pixels = torch.tensor([0, 0, 255, 254], dtype=torch.uint8).reshape(1, 1, 2, 2, 1).expand(1, 1, 2, 2, 3)
    assert metrics.saturation(pixels) == pytest.approx(0.25)
