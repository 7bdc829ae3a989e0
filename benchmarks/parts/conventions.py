"""Ways in which a sampler and a network can disagree about one convention, each wrong in exactly one thing.

Every entry turns noise (B, ...) into samples of the closed-form Gaussian of check D03. A right sampler has a pair error
below .01 at 200 steps; each of these must be seen to fail.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from frostline import contract, exact, path, sampling, schedule
from frostline.checks import oracle_sampler

TEACHER = oracle_sampler.TEACHER
STEPS, SHIFT = 200, 5.0
STABLE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
}
LATENT_SCALE = 2.27  # of a Wan channel
Draw = Callable[[Tensor], Tensor]


def record(kind: str) -> contract.Sampling:
    """The sampling part of a contract with this sampler."""
    return contract.Sampling.model_validate(
        {
            "sampler": kind,
            "rounds_timesteps": kind == "unipc",
            "steps": STEPS,
            "allowed_steps": None,
            "shift": SHIFT,
            "allowed_shifts": None,
            "sigmas": None,
            "guidance": 1.0,
            "guidance_form": "external",
            "teacher_digest": None,
        }
    )


def right(kind: str) -> Draw:
    """The sampler of a contract, as it is used."""
    return lambda noise: sampling.sampler(record(kind)).sample(TEACHER.velocity, noise)


def _asks(network: path.VelocityFn) -> Draw:
    return lambda noise: sampling.sampler(record("unipc")).sample(network, noise)


def _ddim(prediction: Literal["epsilon", "v_prediction"], **betas: Any) -> Draw:
    def draw(noise: Tensor) -> Tensor:
        scheduler = DDIMScheduler(prediction_type=prediction, **betas)
        scheduler.set_timesteps(STEPS)
        noised = noise
        for timestep in scheduler.timesteps:
            velocity = TEACHER.velocity(noised, path.sigma_of(timestep.expand(len(noise))))
            noised = scheduler.step(velocity, int(timestep), noised, return_dict=False)[0]
        return noised

    return draw


def _told_shifted_stepped_unshifted(noise: Tensor) -> Tensor:
    noised, stepped = noise, schedule.grid(STEPS, 1.0)
    for told, here, there in zip(schedule.grid(STEPS, SHIFT)[:-1], stepped[:-1], stepped[1:], strict=True):
        noised = path.moved(noised, TEACHER.velocity(noised, told), here, there)
    return noised


def _started_mid_schedule(noise: Tensor) -> Tensor:
    """Pure noise handed over where sigma is one half."""
    middle = int((schedule.unipc_grid(STEPS, SHIFT) - 0.5).abs().argmin())
    scheduler = sampling.unipc_scheduler(solver_order=2, shift=SHIFT)
    scheduler.set_timesteps(STEPS)
    scheduler.set_begin_index(middle)
    noised = noise
    for timestep in scheduler.timesteps[middle:]:
        velocity = TEACHER.velocity(noised, path.sigma_of(timestep))
        noised = scheduler.step(velocity, timestep, noised, return_dict=False)[0]
    return noised


def _takes_timesteps(noised: Tensor, timestep: Tensor) -> Tensor:
    return TEACHER.velocity(noised, timestep / 1000)


_SCALED = exact.Gaussian(mean=LATENT_SCALE * TEACHER.mean, std=LATENT_SCALE * TEACHER.std)

WRONG: dict[str, Draw] = {
    "sign flipped": _asks(lambda noised, sigma: -TEACHER.velocity(noised, sigma)),
    "sigma not x1000": _asks(_takes_timesteps),
    "epsilon read as velocity": _asks(lambda x, s: path.noise(x, TEACHER.velocity(x, s), s)),
    "clean read as velocity": _asks(lambda x, s: path.clean(x, TEACHER.velocity(x, s), s)),
    "DDIM, epsilon": _ddim("epsilon"),
    "DDIM, epsilon, betas of Stable Diffusion": _ddim("epsilon", **STABLE),
    "DDIM, v-prediction": _ddim("v_prediction"),
    "DDIM, v-prediction, betas of Stable Diffusion": _ddim("v_prediction", **STABLE),
    "shifted timestep, unshifted sigma": _told_shifted_stepped_unshifted,
    "started mid-schedule": _started_mid_schedule,
    "scale not undone": _asks(_SCALED.velocity),
}


def pair_error(draw: Draw, seed: int = 0) -> float:
    """Pair error of a way to sample, on noise of check D03's shape."""
    noise = torch.randn(oracle_sampler.SHAPE, generator=torch.Generator().manual_seed(seed))
    return oracle_sampler.pair_error(draw(noise), noise)
