from pathlib import Path
from typing import Any

import diffusers
import pytest

from frostline import sampling
from frostline.contract import Process, Sampling
from frostline.doctor import readings, solvers
from frostline.doctor.readings import Reading
from frostline.errors import WrongUse

FLOW = Reading(prediction="velocity", time="1000 sigma")
FLOW_SIGMAS: dict[str, Any] = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


def record(**changed: Any) -> Sampling:
    facts: dict[str, Any] = {
        "sampler": "unipc",
        "rounds_timesteps": True,
        "steps": 20,
        "allowed_steps": None,
        "shift": 3.0,
        "allowed_shifts": None,
        "sigmas": None,
        "guidance": 1.0,
        "guidance_form": "external",
        "teacher_digest": None,
    }
    return Sampling(**{**facts, **changed})


def process(**changed: Any) -> Process:
    facts: dict[str, Any] = {"shift": 3.0, "draws": "logit_normal", "patch_size": (1, 1, 1)}
    return Process(**{**facts, **changed})


def folder(place: Path, made: Any) -> Path:
    made.save_pretrained(place / "scheduler")
    return place


@pytest.mark.parametrize("shift", [1.0, 3.0, 12.0])
def test_the_stock_scheduler_of_a_contract_passes(tmp_path: Path, shift: float):
    place = folder(tmp_path, sampling.unipc_scheduler(solver_order=2, shift=shift))
    assert solvers.judged(record(shift=shift), place, FLOW).verdict == "pass"


def test_flow_matching_euler_passes(tmp_path: Path):
    place = folder(tmp_path, diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
    assert solvers.judged(None, place, FLOW).verdict == "pass"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' own
@pytest.mark.parametrize(
    "made",
    [
        diffusers.DDIMScheduler(),
        diffusers.DDIMScheduler(prediction_type="v_prediction"),
        diffusers.DPMSolverMultistepScheduler(),
        diffusers.EulerDiscreteScheduler(),
        diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="epsilon"),
    ],
    ids=lambda made: f"{type(made).__name__} {made.config.prediction_type}",
)
def test_samplers_of_diffusion_fail_on_a_flow(tmp_path: Path, made: Any):
    found = solvers.judged(record(), folder(tmp_path, made), FLOW)
    assert found.verdict == "fail"
    assert type(made).__name__ in found.reason


def test_a_sampler_of_diffusion_is_right_for_a_network_of_diffusion(tmp_path: Path):
    schedule = readings.SCHEDULES["scaled linear, zero terminal"]
    made = diffusers.DDIMScheduler(
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    reading = Reading(prediction="v_prediction", time="place in its schedule", schedule=schedule)
    found = solvers.judged(None, folder(tmp_path, made), reading)
    assert found.measured["pair_error"] < 0.2
    assert solvers.judged(None, tmp_path, FLOW).measured["pair_error"] > 1


def test_an_unknown_scheduler_is_named(tmp_path: Path):
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / solvers.CONFIG).write_text('{"_class_name": "NoSuchScheduler"}')
    with pytest.raises(WrongUse, match="NoSuchScheduler"):
        solvers.judged(record(), tmp_path, FLOW)


@pytest.mark.parametrize(("shift", "verdict"), [(3.0, "pass"), (5.0, "fail"), (3.5, "fail")])
def test_a_scheduler_of_another_shift_fails(tmp_path: Path, shift: float, verdict: str):
    place = folder(tmp_path, diffusers.UniPCMultistepScheduler(flow_shift=shift, **FLOW_SIGMAS))
    assert solvers.coverage(process(), record(), place).verdict == verdict


def test_a_training_that_never_saw_the_noise_is_not_sampled_from_there():
    found = solvers.coverage(process(shift=0.02), record(), None)
    assert found.verdict == "fail"
    assert "least_bin_share" in found.reason
