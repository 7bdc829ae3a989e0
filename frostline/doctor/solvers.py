"""Whether what samples a model solves its equation, where it was trained (D03, D05).

A folder may hold two descriptions: the contract, and a scheduler of diffusers that the stock pipeline uses. Both are
judged: the one we sample with, and the one others will.
"""

from pathlib import Path
from typing import Any

import diffusers
from torch import Tensor

from frostline import diffusion, files, path, randomness, sampling, schedule
from frostline.checks import oracle_sampler, schedule_coverage
from frostline.contract import Process, Sampling
from frostline.doctor.readings import Reading
from frostline.errors import WrongUse
from frostline.findings import Finding

CONFIG = "scheduler_config.json"
DRAWS = 100_000


def of_contract(record: Sampling) -> Finding:
    """D03 of the sampler that the contract describes."""
    generator = randomness.generator("doctor", "oracle")
    return oracle_sampler.of_sampler(sampling.sampler(record), generator=generator)


def has_scheduler(folder: Path) -> bool:
    """Whether a model folder holds a scheduler of diffusers."""
    return (folder / "scheduler" / CONFIG).is_file()


def judged(record: Sampling | None, folder: Path | None, reading: Reading) -> Finding:
    """D03: the worse of the contract's sampler and the folder's scheduler; at least one of them is there."""
    made = None if folder is None else scheduler(folder)
    found = [] if record is None else [of_contract(record)]
    return worst(found if made is None else [*found, of_scheduler(made, reading)])


def scheduler(folder: Path) -> Any | None:
    """The scheduler of diffusers in a model folder; None if there is none. Raises WrongUse for an unknown class."""
    place = folder / "scheduler" / CONFIG
    if not has_scheduler(folder):
        return None
    config = files.read_json(place)
    name = config.get("_class_name", "")
    cls = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if cls is None:
        raise WrongUse(f"{place}: names the class {name!r}, which diffusers does not have")
    return cls.from_config(config)


def of_scheduler(made: Any, reading: Reading) -> Finding:
    """D03 of a scheduler of diffusers, for a network that is read in a way: it is given what such a network says."""
    if "flow_shift" in made.config and made.config.flow_shift > oracle_sampler.HIGHEST_SHIFT:
        made.register_to_config(flow_shift=oracle_sampler.HIGHEST_SHIFT)  # the shift itself is D05's
        made = type(made).from_config(made.config)
    elif made.config.get("shift", 0) and made.config.shift > oracle_sampler.HIGHEST_SHIFT:
        made = type(made).from_config({**made.config, "shift": oracle_sampler.HIGHEST_SHIFT})
    generator = randomness.generator("doctor", "oracle")
    found = oracle_sampler.check(lambda noise: drawn(made, reading, noise), generator=generator)
    return found.model_copy(update={"reason": _with(found.reason, f"by {type(made).__name__} of the folder")})


def drawn(made: Any, reading: Reading, noise: Tensor) -> Tensor:
    """What a scheduler makes of noise with the closed-form network, by the loop of a stock pipeline."""
    made.set_timesteps(oracle_sampler.STEPS)
    if hasattr(made, "set_begin_index"):
        made.set_begin_index(0)
    flows = not hasattr(made, "init_noise_sigma")  # schedulers of flows scale nothing
    latents = noise if flows else noise * made.init_noise_sigma
    for timestep in made.timesteps:
        told = latents if flows else made.scale_model_input(latents, timestep)
        latents = made.step(_said(reading, told, timestep), timestep, latents, return_dict=False)[0]
    return latents


def _said(reading: Reading, given: Tensor, timestep: Tensor) -> Tensor:
    """What a perfect network of this reading answers about the Gaussian of ``oracle_sampler``."""
    told = timestep.double().reshape(())
    if reading.schedule is not None:
        sigmas = diffusion.sigmas(reading.schedule)
        place = told.clamp(0, len(sigmas) - 1)
        sigma = sigmas[int(place)].clamp(1e-4, 1 - 1e-4).expand(len(given))
        noised = given * ((1 - sigma) ** 2 + sigma**2).sqrt().reshape(-1, 1, 1, 1, 1).to(given)
    else:
        sigma = (told / path.TIMESTEP_SCALE).clamp(1e-4, 1 - 1e-4).expand(len(given))
        noised = given
    velocity = oracle_sampler.TEACHER.velocity(noised, sigma)
    clean, noise = path.clean(noised, velocity, sigma), path.noise(noised, velocity, sigma)
    if reading.prediction == "velocity":
        return velocity
    if reading.prediction == "reversed velocity":
        return -velocity
    if reading.prediction == "clean":
        return clean
    return diffusion.target(clean, noise, sigma, "epsilon" if reading.prediction == "epsilon" else "v_prediction")


def coverage(process: Process, record: Sampling, folder: Path | None) -> Finding:
    """D05: judge the training's draws by the sigmas of the sampler, and those of the folder's scheduler."""
    drawn = schedule.DRAWS[process.draws](DRAWS, process.shift, randomness.generator("doctor", "coverage"))
    draws = diffusion.within(drawn, process)
    intended = sampling.sampler(record).sigmas(record.steps, record.shift)
    made = None if folder is None else scheduler(folder)
    return schedule_coverage.check(
        draws=draws,
        sampler_sigmas=_visited(made, record, intended),
        intended_sigmas=intended,
        expert_boundary=process.expert_boundary,
        end=diffusion.end(process),
    )


def _visited(made: Any | None, record: Sampling, intended: Tensor) -> Tensor:
    """The sigmas of the folder's scheduler when it is asked for the contract's steps, if it is one of flow sigmas."""
    if made is None:
        return intended
    made.set_timesteps(record.steps)
    visited = made.sigmas if hasattr(made, "sigmas") else intended
    return visited.detach().clone() if len(visited) == len(intended) and float(visited.max()) <= 1 else intended


def worst(found: list[Finding]) -> Finding:
    """Of several findings of one check the worst, the first among equals."""
    order = ("fail", "warn", "pass", "not-applicable")
    return min(found, key=lambda one: order.index(one.verdict))


def _with(reason: str, note: str) -> str:
    return f"{reason}; {note}" if reason else note
