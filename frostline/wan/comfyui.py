"""How ComfyUI samples a model of ours: with which of its samplers and at which sigmas, or why it does not.

ComfyUI reads no configuration. It takes the shapes of tensors, and for the rest what the published models have: heads,
patches, embeddings, the statistics of latents, 512 tokens of text, a velocity on the straight path.

Its samplers under ModelSamplingSD3 (shift k; comfy/samplers.py, comfy/k_diffusion/sampling.py, comfy/model_sampling.py)
    euler    our euler: noised + velocity * (next - sigma)
    lcm      our renoise: jump to clean, fresh noise of the next sigma
    uni_pc   integrates the path that our unipc integrates, by other formulas
    simple   sigmas of n steps: every (1000 / n)th of the 1000 sigmas shift(i / 1000, k), from 1 downwards, then 0
The node KSampler gives uni_pc the sigmas of n + 1 steps without the last before 0, so its last step is twice as long;
the node SamplerCustom gives every sampler its sigmas as they are. The network is told 1000 * sigma, never rounded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from frostline import experts, sampling, schedule
from frostline.contract import TIMESTEP_SCALE, Contract, LatentSpace, Process, Sampling
from frostline.wan import families

ASSUMED: dict[str, Any] = {
    "attention_head_dim": families.HEAD_DIM,
    "patch_size": (1, 2, 2),
    "freq_dim": 256,
    "text_dim": 4096,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": families.EPS,
}
"""What ComfyUI's loader takes for granted of a transformer."""

Name = Literal["uni_pc", "euler", "lcm"]
SAMPLERS: dict[str, Name] = {"unipc": "uni_pc", "wan_unipc": "uni_pc", "euler": "euler", "renoise": "lcm"}
VAES = {vae.z_dim: vae for vae in (families.VAE_21, families.VAE_22)}
SAME_SIGMA = 1e-5
STEPS = 1000  # sigmas among which `simple` chooses


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that a workflow says of how a model is sampled."""

    sampler: Name
    steps: int
    shift: float
    guidance: tuple[float, ...]  # of the one transformer, or of the high-noise expert and the other
    change: int | None  # the step from which the second expert serves
    sigmas: tuple[float, ...] | None  # the contract's own, with the final 0, where `simple` visits others
    bucket: tuple[int, int, int]  # frames, height, width in pixels
    fps: int
    z_dim: int
    negative: str
    notes: tuple[str, ...]  # in what it differs from sampling here


def unlike(config: Mapping[str, Any]) -> list[str]:
    """Where a transformer is not what ComfyUI's loader takes for granted: a line each, none if it loads there."""
    stated = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    return [f"{key} is {stated[key]}, not {value}" for key, value in ASSUMED.items() if stated[key] != value]


def unsuited(contract: Contract | None, record: Sampling | None) -> list[str]:
    """Why no workflow of stock nodes samples a model as its contract says: a line each, none if one does."""
    if contract is None or contract.process is None or record is None:
        return ["its contract does not say how it is sampled"]
    return [*_of_latents(contract.latent_space), *_of_process(contract.process), *_of_sampling(record)]


def setup(contract: Contract, record: Sampling, family: families.Family | None, bucket: tuple[int, int, int]) -> Setup:
    """How ComfyUI samples a model that is not unsuited; ``family`` is the published model that it is, if it is one."""
    boundary = contract.process.expert_boundary if contract.process else None
    sampler = SAMPLERS[record.sampler]
    theirs = simple(record.steps, record.shift)
    ours = sampling.sampler(record).sigmas(record.steps, record.shift)
    listed = sampler != "uni_pc" and not torch.allclose(ours, theirs, rtol=0, atol=SAME_SIGMA)
    return Setup(
        sampler=sampler,
        steps=record.steps,
        shift=record.shift,
        guidance=(1.0,) if record.guidance_form == "folded" else record.scales,
        change=None if boundary is None else int(experts.serves_high(theirs[:-1], boundary).sum()),
        sigmas=tuple(ours.tolist()) if listed else None,
        bucket=bucket,
        fps=family.fps if family else families.FAMILIES[0].fps,
        z_dim=contract.latent_space.z_dim,
        negative=contract.negative_prompt,
        notes=tuple(_notes(record, listed=listed)),
    )


def simple(steps: int, shift: float) -> Tensor:
    """The sigmas (steps + 1,) float64 of its scheduler `simple`."""
    u = [STEPS - int(i * (STEPS / steps)) for i in range(steps)] + [0]
    return schedule.shift(torch.tensor(u, dtype=torch.float64) / STEPS, shift)


def _of_latents(space: LatentSpace) -> list[str]:
    found: list[str] = []
    known = VAES.get(space.z_dim)
    if known is None or (space.latents_mean, space.latents_std) != (known.latents_mean, known.latents_std):
        found.append(f"its latents ({space.z_dim} channels) have not the mean and deviation of a published Wan VAE")
    if space.text_length != families.TEXT_LENGTH:
        found.append(f"its text has {space.text_length} tokens, there it has {families.TEXT_LENGTH}")
    return found


def _of_process(process: Process) -> list[str]:
    found: list[str] = []
    if process.conditioning != "none":
        found.append("it continues clips, and nothing there gives it one")
    if process.prediction != "velocity":
        found.append(f"it predicts {process.prediction}; a Wan transformer is taken there to predict the velocity")
    if process.timestep_scale != TIMESTEP_SCALE:
        found.append(f"its timestep is {process.timestep_scale:g} * sigma, there {TIMESTEP_SCALE:g}")
    return found


def _of_sampling(record: Sampling) -> list[str]:
    if record.sampler not in SAMPLERS:
        return [f"its sampler {record.sampler!r} is none of ComfyUI's"]
    if SAMPLERS[record.sampler] == "uni_pc" and record.allowed_steps is not None:
        steps = " or ".join(map(str, record.allowed_steps))
        return [f"it was trained for {steps} steps of {record.sampler!r}, and ComfyUI's uni_pc takes other ones"]
    return []


def _notes(record: Sampling, *, listed: bool) -> Sequence[str]:
    notes: list[str] = []
    if SAMPLERS[record.sampler] == "uni_pc":
        notes.append("uni_pc has other formulas than the sampler here: alike with many steps, not equal")
    if record.rounds_timesteps:
        notes.append("the network is told sigmas that are not rounded to whole timesteps")
    if listed:
        notes.append("its sigmas are listed, for the node ManualSigmas: change neither them nor their number")
    elif record.allowed_steps is not None:
        notes.append(f"keep its steps: it was trained for {' or '.join(map(str, record.allowed_steps))}")
    if record.guidance_form == "folded":
        notes.append("keep cfg at 1: guidance is folded into the weights")
    return notes
