"""Networks as a user's code would give them, each wrapped in one mistake."""

from collections.abc import Callable

import torch
from torch import Tensor

from frostline import models

Predictor = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(folder: str) -> Predictor:
    """The network as it is."""
    network = models.load(folder).transformer
    return lambda latents, timestep, text: network(latents, timestep, text, return_dict=False)[0]


def rounded(folder: str, dtype: str) -> Predictor:
    """Timesteps in a dtype that cannot hold them."""
    ask, kind = plain(folder), getattr(torch, dtype)
    return lambda latents, timestep, text: ask(
        latents, timestep.clamp(max=448).to(kind).float() if "8" in dtype else timestep.to(kind).float(), text
    )


def stepped(folder: str, whole: int) -> Predictor:
    """Timesteps rounded to a multiple."""
    ask = plain(folder)
    return lambda latents, timestep, text: ask(latents, (timestep / whole).floor() * whole, text)


def normed(folder: str, over: str) -> Predictor:
    """Latents normalised before the first layer."""
    ask = plain(folder)
    dims = {"all": (1, 2, 3, 4), "frames": (3, 4), "channels": (2, 3, 4), "numbers": (1,)}[over]

    def predictor(latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        mean, std = latents.mean(dims, keepdim=True), latents.std(dims, keepdim=True)
        return ask((latents - mean) / (std + 1e-6), timestep, text)

    return predictor


def dimmed(folder: str, left: float) -> Predictor:
    """A projection that was initialised with nearly nothing and frozen, before a teacher."""
    ask = plain(folder)
    return lambda latents, timestep, text: ask(left * latents, timestep, text)
