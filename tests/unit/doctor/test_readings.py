import dataclasses

import pytest
import torch

from benchmarks.parts.truth import PARAMETRISATIONS, network, rows
from frostline.doctor import readings
from frostline.doctor.readings import Reading

FLOW = PARAMETRISATIONS[0]


@pytest.mark.parametrize("blur", [0.0, 0.6], ids=["trained", "half-trained"])
@pytest.mark.parametrize("reading", PARAMETRISATIONS, ids=str)
def test_what_a_network_predicts_is_named(reading: Reading, blur: float):
    found = readings.scores(network(reading, blur), rows())
    first, second = readings.best(found)
    assert first.reading.kind == reading.kind
    assert second.ratio > 1.05 * first.ratio


def test_a_network_that_is_what_it_says_passes():
    finding = readings.check(readings.scores(network(FLOW), rows()), FLOW)
    assert finding.verdict == "pass"
    assert finding.measured["error_over_linear"] < 0.5


@pytest.mark.parametrize("reading", PARAMETRISATIONS[1:], ids=str)
def test_a_network_that_is_not_what_it_says_fails_and_is_told_what_it_is(reading: Reading):
    finding = readings.check(readings.scores(network(reading), rows()), FLOW)
    assert finding.verdict == "fail"
    assert f"it predicts {reading.prediction}" in finding.reason
    assert finding.remedy


def test_latents_that_were_not_normalised_are_seen():
    """The network learned on raw latents: those it is given normalised are not the ones it knows."""
    right = rows()
    swapped = dataclasses.replace(right, raw=right.clean, clean=(right.clean - 0.4) / 2.4)
    first, _ = readings.best(readings.scores(network(FLOW), swapped))
    assert first.reading.units == "raw"


def test_a_network_that_learned_nothing_is_not_judged():
    finding = readings.check(readings.scores(lambda given, _told, _text: torch.zeros_like(given), rows()), FLOW)
    assert finding.verdict == "not-applicable"
    assert "no reading beats a straight line" in finding.reason


def test_answers_that_are_no_numbers_are_the_worst_reading_of_all():
    found = readings.scores(lambda given, _told, _text: given * torch.nan, rows())
    assert found[0].ratio > 1e9


def test_the_ratio_of_the_best_linear_predictor_is_one_in_every_currency():
    """Data N(0, d^2) have no better predictor than the linear one, so a perfect network has the ratio 1."""
    from frostline import exact, path, randomness

    clean = 0.7 * randomness.normal((400, 4, 1, 4, 4), "gaussian")
    truth, noise = exact.Gaussian(mean=0.0, std=0.7), randomness.normal((400, 4, 1, 4, 4), "noise")
    for reading in PARAMETRISATIONS:
        for sigma in (0.2, 0.5, 0.8):
            level = torch.full((400,), sigma, dtype=torch.float64)
            noised = path.noised(clean, noise, level)
            velocity = truth.velocity(noised, level)
            parts = path.clean(noised, velocity, level), path.noise(noised, velocity, level)
            answer = readings.target(reading.prediction, *parts, level)
            wanted = readings.target(reading.prediction, clean, noise, level)
            assert readings.ratio(answer, wanted, reading, clean, sigma) == pytest.approx(1.0, abs=0.05)


def test_a_velocity_is_the_same_however_a_network_says_it():
    from frostline import randomness

    noised = randomness.normal((6, 4, 1, 8, 4), "asked")
    level = torch.full((6,), 0.4, dtype=torch.float64)
    said = [reading.velocity_fn(network(reading), None)(noised, level) for reading in PARAMETRISATIONS]
    for velocity in said[1:]:
        assert torch.allclose(velocity, said[0], atol=0.02)
