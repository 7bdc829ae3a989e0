"""The average of a training's weights that is sampled, validated and saved: one and the same.

    average <- decay * average + (1 - decay) * weights,   decay = min(ema_decay, (1 + n) / (10 + n))

The decay warms up so that a short training is not an average of its random start. On why
the start must be forgotten: Karras et al., arXiv:2312.02696, section 3.1.
"""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


class Average(Generic[N]):
    """Holds a copy of a network whose parameters follow the original's."""

    def __init__(self, network: N, decay: float) -> None:
        """``decay`` is the final one; 0 follows at once."""
        self.decay = decay
        self.network: N = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def follow(self, network: N, step: int) -> None:
        """Move towards the network's weights after optimiser step number ``step`` (from 0)."""
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - self._decay(step))

    def maturity(self, steps: int) -> float:
        """The share of the average, after so many steps, that is not the weights it began with: 1 is all of it."""
        start = 1.0
        for step in range(steps):
            start *= self._decay(step)
        return 1.0 - start

    def _decay(self, step: int) -> float:
        return min(self.decay, (1 + step) / (10 + step))
