from typing import Any

import pytest
import torch

from frostline import diffusion, path, schedule, transformer
from frostline.checks import forward_contract
from frostline.contract import Diffusion
from tests import tiny


def batch(**changes: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(8, 16, 1, 4, 4, generator=generator) for _ in range(2))
    sigma = schedule.draw_logit_normal(8, 5.0, generator)
    plain = {
        "clean": clean,
        "noise": noise,
        "sigma": sigma,
        "noised": path.noised(clean, noise, sigma),
        "target": path.velocity(clean, noise),
        "timestep": path.timestep(sigma).float(),
        "sampler_sigmas": schedule.unipc_grid(20, 5.0),
    }
    return {name: changes[name](plain) if name in changes else value for name, value in plain.items()}


def test_a_right_batch_passes():
    finding = forward_contract.check(**batch())
    assert finding.verdict == "pass"
    assert max(value for name, value in finding.measured.items() if name != "sigma_rises") < 2e-6


WRONG = {
    "target with the sign flipped": ({"target": lambda b: -b["target"]}, "velocity_error"),
    "target epsilon": ({"target": lambda b: b["noise"]}, "velocity_error"),
    "noised by a DDPM schedule": (
        {
            "noised": lambda b: (
                torch.sqrt(1 - path.broadcast(b["sigma"], b["clean"]) ** 2) * b["clean"]
                + path.broadcast(b["sigma"], b["clean"]) * b["noise"]
            )
        },
        "noised_error",
    ),
    "sigma counted from the data": ({"sigma": lambda b: 1 - b["sigma"]}, "noised_error"),
    "sigma in bf16": (
        {"noised": lambda b: path.noised(b["clean"], b["noise"], b["sigma"].bfloat16().double())},
        "noised_error",
    ),
    "noise of another row": ({"noise": lambda b: b["noise"].roll(1, 0)}, "velocity_error"),
    "timestep not x1000": ({"timestep": lambda b: b["sigma"].float()}, "timestep_error"),
    "timestep in bf16": ({"timestep": lambda b: b["timestep"].bfloat16()}, "timestep_error"),
    "sigmas rising": ({"sampler_sigmas": lambda b: b["sampler_sigmas"].flip(0)}, "sigma_rises"),
    "a sigma twice": ({"sampler_sigmas": lambda b: torch.tensor([1.0, 0.5, 0.5, 0.0])}, "sigma_rises"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_each_fault_is_named(fault):
    changes, measure = WRONG[fault]
    finding = forward_contract.check(**batch(**changes))
    assert finding.verdict == "fail"
    assert measure in finding.reason


STABLE = Diffusion(betas="scaled_linear", beta_start=0.00085, beta_end=0.012, zero_terminal_snr=False)
PROCESSES = {
    "v_prediction": tiny.process(
        prediction="v_prediction", diffusion=STABLE.model_copy(update={"zero_terminal_snr": True})
    ),
    "epsilon": tiny.process(prediction="epsilon", diffusion=STABLE),
}


def on_a_schedule(process, **changes) -> dict[str, Any]:
    """A batch as a network of a schedule sees it."""
    sigma = diffusion.within(batch()["sigma"], process)
    plain = {**batch(), "sigma": sigma}
    plain["noised"] = diffusion.diffused(path.noised(plain["clean"], plain["noise"], sigma), sigma)
    plain["target"] = diffusion.target(plain["clean"], plain["noise"], sigma, process.prediction)
    plain["timestep"] = transformer.timestep(sigma, process)
    return {name: changes[name](plain) if name in changes else value for name, value in plain.items()}


@pytest.mark.parametrize("prediction", PROCESSES)
def test_a_batch_on_a_schedule_passes_as_what_it_is_and_as_nothing_else(prediction):
    process = PROCESSES[prediction]
    assert forward_contract.check(**on_a_schedule(process), process=process).verdict == "pass"
    assert forward_contract.check(**on_a_schedule(process)).verdict == "fail"
    assert forward_contract.check(**batch(), process=process).verdict == "fail"


WRONG_ON_A_SCHEDULE = {
    "the other sign": ({"target": lambda b: -b["target"]}, "velocity_error"),
    "the velocity": ({"target": lambda b: b["noise"] - b["clean"]}, "velocity_error"),
    "not brought to the sphere": (
        {"noised": lambda b: path.noised(b["clean"], b["noise"], b["sigma"])},
        "noised_error",
    ),
    "told as in flow matching": ({"timestep": lambda b: path.timestep(b["sigma"])}, "timestep_error"),
}


@pytest.mark.parametrize("prediction", PROCESSES)
@pytest.mark.parametrize("fault", WRONG_ON_A_SCHEDULE)
def test_each_fault_on_a_schedule_is_named(fault, prediction):
    changes, measure = WRONG_ON_A_SCHEDULE[fault]
    process = PROCESSES[prediction]
    finding = forward_contract.check(**on_a_schedule(process, **changes), process=process)
    assert finding.verdict == "fail"
    assert measure in finding.reason
