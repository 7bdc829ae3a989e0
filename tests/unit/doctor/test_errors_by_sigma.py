import pytest
import torch
from torch import Tensor

from benchmarks.parts.truth import MIXTURE, PARAMETRISATIONS, network, rows
from frostline import path, randomness
from frostline.doctor import errors_by_sigma, own_records
from frostline.path import VelocityFn

FLOW = PARAMETRISATIONS[0]
ROWS = rows()


def true(noised: Tensor, sigma: Tensor) -> Tensor:
    return MIXTURE.velocity(noised, sigma)


def nothing(given: Tensor, _told: Tensor, _text: Tensor | None) -> Tensor:
    return torch.zeros_like(given)


def test_a_network_that_knows_is_right_at_every_sigma():
    curve = errors_by_sigma.over_linear(network(FLOW), FLOW, ROWS)
    assert errors_by_sigma.off_manifold(curve).verdict == "pass"
    assert errors_by_sigma.progress(curve).verdict == "pass"


def test_a_network_that_learned_nothing_fails_everywhere():
    curve = errors_by_sigma.over_linear(nothing, FLOW, ROWS)
    assert errors_by_sigma.progress(curve).verdict == "fail"
    assert errors_by_sigma.off_manifold(curve).verdict == "warn"  # nothing learned is not learned in the wrong place


def test_a_network_that_is_right_on_pure_noise_alone_learned_something_and_is_off_the_manifold():
    right = network(FLOW)

    def ask(given: Tensor, told: Tensor, text: Tensor | None) -> Tensor:
        return right(given, torch.full_like(told, 999.0), text)

    curve = errors_by_sigma.over_linear(ask, FLOW, ROWS)
    assert errors_by_sigma.progress(curve).verdict == "pass"
    found = errors_by_sigma.off_manifold(curve)
    assert found.verdict == "fail"
    assert found.reason.endswith("worst at sigma 0.1")


def test_a_student_that_learned_something_of_its_teacher_learned_something():
    """A straight line knows more of these data, and yet its fault is where it was asked, not that it stood still."""
    over_line = errors_by_sigma.Curve((0.1, 0.9), (3.0, 1.2))
    assert errors_by_sigma.progress(over_line).verdict == "fail"
    assert errors_by_sigma.progress(over_line, errors_by_sigma.Curve((0.1, 0.9), (2.0, 0.1))).verdict == "pass"
    assert errors_by_sigma.progress(over_line, errors_by_sigma.Curve((0.1, 0.9), (2.0, 1.1))).verdict == "fail"


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 4.0])
def test_the_scale_of_the_latents_that_a_network_knows_is_found(scale: float):
    known = rows()
    shown = type(known)(origin="", raw=known.raw, clean=known.clean / scale, text=known.text, null=known.null)
    finding, _ = errors_by_sigma.own_scale(network(FLOW), FLOW, shown)
    assert finding.verdict == "fail"
    assert finding.measured["best_scale"] == pytest.approx(scale, rel=0.45)
    assert errors_by_sigma.own_scale(network(FLOW), FLOW, known)[0].verdict == "pass"


def test_a_student_that_is_its_teacher_explains_everything():
    curve = errors_by_sigma.unexplained(true, true, ROWS)
    assert curve.values == (0.0,) * 10
    assert errors_by_sigma.off_teacher(curve).verdict == "pass"


def test_a_student_of_pure_noise_explains_less_than_nothing():
    def student(noised: Tensor, sigma: Tensor) -> Tensor:
        return true(noised * 0 + randomness.normal(tuple(noised.shape), "own"), sigma)

    found = errors_by_sigma.off_teacher(errors_by_sigma.unexplained(student, true, ROWS))
    assert found.verdict == "fail"


@pytest.mark.parametrize(("declared", "verdict"), [(2.0, "pass"), (1.0, "fail"), (4.0, "fail")])
def test_the_guidance_that_was_folded_in_is_found(declared: float, verdict: str):
    labels = torch.arange(len(ROWS)) % 3
    conditional = MIXTURE.guided(labels, 1.0)
    student: VelocityFn = MIXTURE.guided(labels, 2.0)
    found = errors_by_sigma.folded_scale(student, conditional, true, ROWS)
    assert found == pytest.approx(2.0, abs=1e-6)
    assert errors_by_sigma.guided_once(found, declared).verdict == verdict


def test_swapped_experts_are_each_worse_where_they_serve():
    whole = network(FLOW)

    def above(given: Tensor, told: Tensor, text: Tensor | None) -> Tensor:
        return whole(given, told, text) * (told > 500).view(-1, 1, 1, 1, 1)

    def below(given: Tensor, told: Tensor, text: Tensor | None) -> Tensor:
        return whole(given, told, text) * (told <= 500).view(-1, 1, 1, 1, 1)

    assert errors_by_sigma.own_range(above, below, FLOW, 0.5, ROWS).verdict == "pass"
    assert errors_by_sigma.own_range(below, above, FLOW, 0.5, ROWS).verdict == "fail"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (2.0, "warn"), (270.0, "fail")])
def test_a_loss_that_holds_on_replayed_noise_alone_fails(factor: float, verdict: str):
    fresh = errors_by_sigma.losses(true, ROWS, (0.25, 0.55, 0.85))
    recorded = {sigma: loss / factor for sigma, loss in fresh.items()}
    assert errors_by_sigma.fresh_gap(fresh, recorded).verdict == verdict


def test_losses_are_those_of_flow_matching():
    noised, noise, level = errors_by_sigma.noised_at(ROWS, 0.5, "fresh 0.5")
    wanted = (true(noised, level) - path.velocity(ROWS.clean, noise)).square().mean()
    assert errors_by_sigma.losses(true, ROWS, (0.5,))[0.5] == pytest.approx(float(wanted))


def test_without_a_record_by_sigma_nothing_is_judged(tmp_path):
    assert own_records.last_by_sigma(tmp_path / "sigmas.tsv") == {}
    assert errors_by_sigma.fresh_gap({0.5: 1.0}, {}).verdict == "not-applicable"
