"""The average of a training's weights that is sampled, validated and saved: one and the same.

    average <- decay * average + (1 - decay) * weights,   decay = min(ema_decay, (1 + n) / (10 + n))

The decay warms up so that a short training is not an average of its random start. On why
the start must be forgotten: Karras et al., arXiv:2312.02696, section 3.1.
"""

import copy
import itertools
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

N = TypeVar("N", bound=nn.Module)
ALIGNED = 16  # numbers of 4 bytes, as torch aligns its own memory: what is computed may depend on it in the last bit


class _Pairs(NamedTuple):
    """What an average moves, and towards what."""

    network: nn.Module
    first: Tensor  # of the network's parameters: if it lies elsewhere now, ``followed`` is not what it was
    own: list[Tensor]
    followed: list[Tensor]


class Average(Generic[N]):
    """Holds a copy of a network whose parameters follow the original's."""

    def __init__(self, network: N, decay: float) -> None:
        """``decay`` is the final one; 0 follows at once."""
        self.decay = decay
        self.network: N = copy.deepcopy(network).eval().requires_grad_(False)
        self._pairs: _Pairs | None = None

    @torch.no_grad()
    def follow(self, network: N, step: int) -> None:
        """Move towards the network's weights after optimiser step number ``step`` (from 0)."""
        own, followed = self._parameters(network)
        torch._foreach_lerp_(own, followed, 1 - self._decay(step))

    def _parameters(self, network: N) -> tuple[list[Tensor], list[Tensor]]:
        """Those of the average and of the original, looked for once: to find them takes longer than to move them.

        Whole ones on a CPU are brought together, since hundreds of small ones take longer than their numbers do.
        """
        pairs = self._pairs
        if pairs is None or pairs.network is not network or pairs.first.data_ptr() != pairs.followed[0].data_ptr():
            own: list[Tensor] = list(self.network.parameters())
            followed: list[Tensor] = list(network.parameters())
            first = followed[0]
            if all(map(_whole, (*own, *followed))):
                own, followed = [_together(own)], [_together(followed)]
            self._pairs = pairs = _Pairs(network, first, own, followed)
        return pairs.own, pairs.followed

    def maturity(self, steps: int) -> float:
        """The share of the average, after so many steps, that is not the weights it began with: 1 is all of it."""
        start = 1.0
        for step in range(steps):
            start *= self._decay(step)
        return 1.0 - start

    def _decay(self, step: int) -> float:
        return min(self.decay, (1 + step) / (10 + step))


def _whole(weights: Tensor) -> bool:
    plain = not isinstance(weights, DTensor) and weights.device.type == "cpu"
    return plain and weights.dtype == torch.float32 and weights.is_contiguous()


def _together(parameters: Sequence[Tensor]) -> Tensor:
    """One tensor that has the numbers of all parameters, which from now on are views of it.

    Where they are already, as after another average of the same network came here, it is that one.
    """
    sizes = [-(-weights.numel() // ALIGNED) * ALIGNED for weights in parameters]
    starts = [0, *itertools.accumulate(sizes)]
    memory = parameters[0].untyped_storage()
    apart = any(
        weights.untyped_storage().data_ptr() != memory.data_ptr() or weights.storage_offset() != start
        for weights, start in zip(parameters, starts, strict=False)
    )
    if not apart and memory.nbytes() == starts[-1] * torch.float32.itemsize:
        return parameters[0].detach().as_strided((starts[-1],), (1,), 0)
    whole = torch.zeros(starts[-1])
    for weights, room in zip(parameters, whole.split(sizes), strict=True):
        weights.data = room[: weights.numel()].view_as(weights).copy_(weights)
    return whole
