"""What is measured of a running training, each a function of tensors.

Shapes: latents, noise (B, C, T, H, W), those of trajectories (B, K + 1, C, T, H, W); times (B,) or (B, 2).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from frostline import continuation, path, transformer
from frostline.contract import Process

PER_TENSOR = 256  # numbers of each tensor that are looked at
OF_NOISE = 4  # numbers of a row's noise that tell it from others
ADAPTER = ".lora_B."  # what an adapter adds is this times something: zero at first


def mine(tensor: Tensor) -> Tensor:
    """The part of a tensor that is here."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def sample(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Copies of a few numbers of each tensor, evenly spread over it."""
    found = []
    for tensor in tensors:
        flat = mine(tensor.detach()).flatten()
        found.append(flat[:: max(1, -(-len(flat) // PER_TENSOR))].clone())
    return found


def changed(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """How many of the numbers differ, and how many there are: (2,)."""
    differing = sum((int((one != other).sum()) for one, other in zip(before, after, strict=True)), 0)
    return torch.tensor([differing, sum(map(len, before))], dtype=torch.float64)


def prints(rows: Sequence[int], times: Tensor, noise: Tensor) -> list[tuple[float, ...]]:
    """What tells the draw of each row from others: the row, its times, some of its noise."""
    few = noise.flatten(1)[:, :OF_NOISE].double().cpu()
    at = times.reshape(len(times), -1).double().cpu()
    facts = torch.cat([at, few], dim=1).tolist()
    return [(float(row), *numbers) for row, numbers in zip(rows, facts, strict=True)]


def empty(latents: Tensor) -> Tensor:
    """How many rows are constant, or hold what is no number: a scalar on their device."""
    flat = latents.flatten(1)
    constant = flat.amin(1) == flat.amax(1)
    return (constant | ~torch.isfinite(flat).all(1)).sum()


def adapter_start(named: Mapping[str, Tensor]) -> float:
    """The largest number of what makes an adapter's first change."""
    ups = [mine(tensor).abs().max() for name, tensor in named.items() if ADAPTER in name]
    return float(torch.stack(ups).max()) if ups else 0.0


class Given(nn.Module):
    """A network that keeps what it was given, and answers zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.latents: list[Tensor] = []
        self.told: list[Tensor] = []

    def forward(self, latents: Tensor, told: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
        """Like a transformer's."""
        self.latents.append(latents)
        self.told.append(told)
        return (torch.zeros_like(latents),)


def conditioned(
    given: Tensor, told: Tensor, clean: Tensor, text: Tensor, noise: Tensor, sigma: Tensor, process: Process
) -> dict[str, float]:
    """How far what a training gave its network is from what a sampler gives it, where the context is.

    ``given`` are latents and ``told`` the timesteps (B, tokens) of the training's own call for these rows.
    """
    context, recorder = continuation.of(clean, process), Given()
    if context is None:
        return {}
    transformer.velocity_fn(recorder, text, process, context)(path.noised(clean, noise, sigma), sigma)
    theirs, at, frames = recorder.latents[0].to(given.dtype), recorder.told[0], context.shape[2]
    apart = (given[:, :, :frames] - theirs[:, :, :frames]).abs().max()
    same = told.shape == at.shape
    held = at.shape[1] // given.shape[2] * frames  # tokens of the context
    late = (told[:, :held].double() - at[:, :held].double()).abs().max() if same else torch.tensor(torch.inf)
    return {"context_apart": float(apart), "timesteps_apart": min(float(late), 1e9)}
