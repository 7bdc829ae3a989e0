"""D04 forward-contract: do a trainer's inputs and targets obey the path?"""

import torch
from torch import Tensor

from frostline import diffusion, findings, path, transformer
from frostline.contract import Process
from frostline.findings import Bound, Check, Finding

ABOUT = Check(
    id="D04",
    name="forward-contract",
    question="Do the trainer's inputs and targets obey the path?",
    procedure="Recompute each part of a trainer's batch from the others; the sampler's sigmas must fall.",
    remedy="Make inputs and targets with frostline.path, sigmas with frostline.schedule; no other file has formulas.",
    reference="docs/maths.md; Lipman et al., arXiv:2210.02747, eq. 20 to 23; Salimans and Ho, arXiv:2202.00512, app. D",
)
LIMIT = 1e-5
BOUNDS = (
    Bound(measure="noised_error", op="<", value=LIMIT),
    Bound(measure="velocity_error", op="<", value=LIMIT),
    Bound(measure="clean_error", op="<", value=LIMIT),
    Bound(measure="noise_error", op="<", value=LIMIT),
    Bound(measure="timestep_error", op="<", value=LIMIT),
    Bound(measure="sigma_rises", op="==", value=0.0),
)


def check(
    *,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    noised: Tensor,
    target: Tensor,
    timestep: Tensor,
    sampler_sigmas: Tensor,
    process: Process | None = None,
) -> Finding:
    """Judge one batch: latents (B, ...), sigma and timestep (B,), the sampler's sigmas (steps + 1,).

    Of a ``process`` on a DDPM schedule ``noised`` and ``target`` are what its network sees and is to say: they are read
    as a point of the path and a velocity first. Errors are the largest difference over the root mean square of what is
    right; timesteps over their scale.
    """
    told = path.timestep(sigma.to(torch.float64))
    if process is not None and (process.prediction == "v_prediction" or process.prediction == "epsilon"):
        told = transformer.timestep(sigma, process)
        noised = diffusion.noised(noised, sigma)
        target = diffusion.velocity(path.noised(clean, noise, sigma), target, sigma, process.prediction)
    measured = {
        "noised_error": _error(noised, path.noised(clean, noise, sigma)),
        "velocity_error": _error(target, path.velocity(clean, noise)),
        "clean_error": _error(path.clean(noised, target, sigma), clean),
        "noise_error": _error(path.noise(noised, target, sigma), noise),
        "timestep_error": _timestep_error(timestep, told),
        "sigma_rises": float((sampler_sigmas.diff() >= 0).sum()),
    }
    return findings.judge(ABOUT, measured, BOUNDS)


def _error(given: Tensor, right: Tensor) -> float:
    scale = right.to(torch.float64).square().mean().sqrt()
    return float((given.to(torch.float64) - right.to(torch.float64)).abs().max() / scale)


def _timestep_error(timestep: Tensor, right: Tensor) -> float:
    distance = timestep.to(torch.float64) - right.to(torch.float64)
    return float(distance.abs().max()) / path.TIMESTEP_SCALE
