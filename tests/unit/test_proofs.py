"""Figures of samples beside a teacher's, on latents whose answers are known."""

import pytest

from frostline import proofs, randomness

TRUTH = randomness.normal((64, 4, 1, 8, 8), "truth")


def test_the_teacher_s_own_samples_are_as_good_as_its_own():
    found = proofs.compared(TRUTH, TRUTH, adds_noise=False)
    assert found["endpoint"] == found["drift"] == 0
    assert found["spread"] == found["diversity"] == pytest.approx(1.0)
    assert found["saturation"] == pytest.approx(1e-3, rel=0.05)


def test_each_figure_sees_what_it_is_named_after():
    other = randomness.normal(tuple(TRUTH.shape), "other")
    unlike = proofs.compared(other, TRUTH, adds_noise=False)
    assert unlike["endpoint"] == pytest.approx(2**0.5, rel=0.05)
    assert unlike["diversity"] == pytest.approx(1.0, rel=0.05)

    one = TRUTH[:1].expand_as(TRUTH)
    assert proofs.compared(one, TRUTH, adds_noise=False)["diversity"] == 0

    moved = TRUTH.clone()
    moved[:, 2] += 0.5
    found = proofs.compared(moved, TRUTH, adds_noise=False)
    assert found["drift"] == pytest.approx(0.5, rel=0.02)
    assert found["diversity"] == pytest.approx(1.0, rel=1e-4)

    loud = proofs.compared(2 * TRUTH, TRUTH, adds_noise=False)
    assert loud["spread"] == pytest.approx(2.0)
    assert loud["saturation"] > 0.05


def test_samples_with_noise_between_their_steps_have_no_end_of_their_own():
    assert "endpoint" not in proofs.compared(TRUTH, TRUTH, adds_noise=True)


def test_relative_rmse_is_in_standard_deviations():
    wanted = randomness.normal((2000,), "w") * 5
    assert proofs.relative_rmse(wanted + 5, wanted) == pytest.approx(5 / float(wanted.double().std()))
    assert proofs.relative_rmse(wanted, wanted) == 0
