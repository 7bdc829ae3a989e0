import pytest
import torch

from frostline import schedule
from frostline.checks import schedule_coverage


def draws(kind, k, n=50_000):
    return schedule.DRAWS[kind](n, k, torch.Generator().manual_seed(0))


def checked(kind, trained, sampled, steps, **changes):
    sigmas = schedule.unipc_grid(steps, sampled)
    return schedule_coverage.check(draws=draws(kind, trained), sampler_sigmas=sigmas, intended_sigmas=sigmas, **changes)


@pytest.mark.parametrize("steps", [1, 4, 20, 50])
@pytest.mark.parametrize("kind", ["uniform", "logit_normal"])
@pytest.mark.parametrize("k", [1.0, 5.0])
def test_training_and_sampling_of_one_shift_pass(steps, kind, k):
    assert checked(kind, k, k, steps).verdict == "pass"


@pytest.mark.parametrize(("trained", "sampled"), [(1.0, 12.0), (12.0, 1.0)])
def test_another_shift_is_not_covered(trained, sampled):
    finding = checked("logit_normal", trained, sampled, 20)
    assert finding.verdict == "fail"
    assert finding.reason.startswith("least_bin_share")


def test_a_schedule_trained_upside_down_is_not_covered():
    sigmas = schedule.unipc_grid(20, 5.0)
    finding = schedule_coverage.check(
        draws=1 - draws("logit_normal", 5.0), sampler_sigmas=sigmas, intended_sigmas=sigmas
    )
    assert finding.verdict == "fail"


@pytest.mark.parametrize("k", [3.0, 5.0])
def test_a_double_shift_is_found(k):
    sigmas = schedule.grid(20, k)
    finding = schedule_coverage.check(
        draws=draws("uniform", k), sampler_sigmas=schedule.shift(sigmas, k), intended_sigmas=sigmas
    )
    assert finding.verdict == "fail"
    assert "shift_error" in finding.reason


def test_diffusers_shifting_twice_is_found():
    """FlowMatchEuler shifts the range of its own shifted grid again in ``set_timesteps`` of a number."""
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    stock = FlowMatchEulerDiscreteScheduler(shift=5.0)
    stock.set_timesteps(20)
    finding = schedule_coverage.check(
        draws=draws("uniform", 5.0),
        sampler_sigmas=torch.as_tensor(stock.sigmas),
        intended_sigmas=schedule.grid(20, 5.0),
    )
    assert finding.measured["shift_error"] > 1e-3
    assert finding.verdict == "fail"


@pytest.mark.parametrize(("k", "verdict"), [(5.0, "pass"), (0.1, "fail")])
def test_each_expert_needs_its_share(k, verdict):
    finding = checked("logit_normal", k, k, 20, expert_boundary=0.875)
    assert finding.verdict == verdict
    assert ("least_expert_share" in finding.reason) == (verdict == "fail")
