"""Clips that go on from what is given: their first latent frames stay as they are, and the network makes the rest.

Legend
    context   the latent frames that are given, clean and normalised   (B, C, k, H, W)
    rest      those that follow                                        (B, C, T - k, H, W)

Tokens of the context are told the timestep of clean latents, those of the rest that of their sigma; neither the loss
nor a step of the sampler touches the context: the form of Wan2.2's TI2V-5B, whose context is one picture. Pictures, and
clips no longer than the context, have none: they are learned and drawn as by any other model.

Source: Wan: Open and Advanced Large-Scale Video Generative Models, arXiv:2503.20314, and its published code of 2.2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from frostline.contract import Process


def of(clean: Tensor, process: Process) -> Tensor | None:
    """The context of clean latents (B, C, T, H, W) under a process; None if they have none."""
    return clean[:, :, : process.context] if wanted(clean.shape[2], process) else None


def wanted(frames: int, process: Process) -> bool:
    """Whether so many latent frames are made from a context."""
    return process.context is not None and frames > process.context


def held(latents: Tensor, context: Tensor | None) -> Tensor:
    """Latents (B, C, T, H, W) with the context in the place of their first frames."""
    return latents if context is None else torch.cat([context.to(latents), rest(latents, context)], dim=2)


def rest(latents: Tensor, context: Tensor | None) -> Tensor:
    """What follows the context."""
    return latents if context is None else latents[:, :, context.shape[2] :]


def still(velocity: Tensor, context: Tensor | None) -> Tensor:
    """A velocity (B, C, T, H, W) that does not move the context."""
    return velocity if context is None else held(velocity, torch.zeros_like(context))


def timesteps(own: Tensor, clean: Tensor, shape: Sequence[int], frames: int, patch: Sequence[int]) -> Tensor:
    """What each token is told (B, tokens) where the first latent frames of latents of a shape are context.

    ``own`` (B,) is the timestep of the rest, ``clean`` (B,) that of clean latents; tokens are in the order of a Wan
    transformer, frame by frame.
    """
    each = math.prod(size // part for size, part in zip(shape[3:], patch[1:], strict=True))  # tokens of a latent frame
    count, given = shape[2] // patch[0] * each, frames // patch[0] * each
    return torch.cat([clean[:, None].expand(-1, given), own[:, None].expand(-1, count - given)], dim=1)
