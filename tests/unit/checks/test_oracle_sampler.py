import pytest
import torch

from frostline import contract, sampling
from frostline.checks import oracle_sampler


def sampler(kind, **changes):
    plain = {
        "sampler": kind,
        "rounds_timesteps": kind == "unipc",
        "steps": 4,
        "allowed_steps": None,
        "shift": 5.0,
        "allowed_shifts": None,
        "sigmas": None,
        "guidance": 1.0,
        "guidance_form": "external",
        "teacher_digest": None,
    }
    return sampling.sampler(contract.Sampling.model_validate({**plain, **changes}))


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("kind", "shift"), [("unipc", 5.0), ("euler", 1.0), ("euler", 12.0), ("flow_map", 5.0)])
def test_the_samplers_of_contracts_pass(kind, shift):
    finding = oracle_sampler.of_sampler(sampler(kind, shift=shift), generator=generator())
    assert finding.verdict == "pass"
    assert finding.measured["pair_error"] < 0.03


def test_a_few_step_contract_is_still_judged_at_200_steps():
    assert oracle_sampler.of_sampler(sampler("unipc", allowed_steps=(4,)), generator=generator()).verdict == "pass"


def test_a_renoising_sampler_is_not_judged():
    finding = oracle_sampler.of_sampler(sampler("renoise"), generator=generator())
    assert finding.verdict == "not-applicable"
    assert "fresh noise" in finding.reason


def test_noise_handed_back_fails():
    finding = oracle_sampler.check(lambda noise: noise, generator=generator())
    assert finding.verdict == "fail"
    assert "contract" in finding.remedy


def test_no_number_fails():
    assert oracle_sampler.check(lambda noise: noise * float("nan"), generator=generator()).verdict == "fail"


def test_pair_error_of_known_samples():
    noise = torch.zeros(2, 3)
    assert oracle_sampler.pair_error(torch.full((2, 3), 2.5), noise) == pytest.approx(2.0)
