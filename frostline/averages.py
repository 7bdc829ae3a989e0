"""The average of a training as its loop sees it: of a whole network, or of what moves in one whose rest is frozen.

Of a whole network it is a copy. Where most is frozen it lies beside the network, and takes the place of what moves
while it is looked at, so that nothing frozen is held twice. How it follows stands in ``ema``.
"""

import contextlib
from collections.abc import Iterator
from typing import Generic, TypeVar, final

import torch
from torch import Tensor, nn

from frostline.ema import Average

N = TypeVar("N", bound=nn.Module)


@final
class OfAll(Generic[N]):
    """An average that is a network of its own."""

    def __init__(self, average: Average[N]) -> None:
        self._average = average

    def follow(self, network: N, step: int) -> None:
        """Move towards the network's weights after optimiser step number ``step`` (from 0)."""
        self._average.follow(network, step)

    @contextlib.contextmanager
    def shown(self) -> Iterator[N]:
        """A network of these weights, to be looked at in the block."""
        yield self._average.network

    def settled(self) -> N:
        """A network of these weights, after the last step."""
        return self._average.network

    def tensors(self) -> dict[str, Tensor]:
        """All that is averaged, by name."""
        return self._average.network.state_dict()

    def maturity(self, steps: int) -> float:
        """The share of the average, after so many steps, that is not the weights it began with: 1 is all of it."""
        return self._average.maturity(steps)


@final
class OfPart(Generic[N]):
    """The average of the parameters of a network that are not frozen."""

    def __init__(self, network: N, decay: float) -> None:
        """``decay`` is the final one; 0 follows at once."""
        self._network = network
        self._names = list(moving(network))
        self._average = Average(nn.ParameterList(moving(network).values()), decay)

    def follow(self, network: N, step: int) -> None:
        """Move towards the network's weights after optimiser step number ``step`` (from 0)."""
        self._average.follow(nn.ParameterList(moving(network).values()), step)

    @contextlib.contextmanager
    def shown(self) -> Iterator[N]:
        """The network with these weights in the place of its own, to be looked at in the block."""
        self._exchange()
        try:
            yield self._network.eval()
        finally:
            self._network.train()
            self._exchange()

    def settled(self) -> N:
        """The network with these weights in the place of its own, after the last step."""
        self._exchange()
        return self._network.eval()

    def tensors(self) -> dict[str, Tensor]:
        """All that is averaged, by the network's names."""
        return dict(zip(self._names, self._average.network.state_dict().values(), strict=True))

    def maturity(self, steps: int) -> float:
        """The share of the average, after so many steps, that is not the weights it began with: 1 is all of it."""
        return self._average.maturity(steps)

    @torch.no_grad()
    def _exchange(self) -> None:
        """Twice is as before, to the bit."""
        for tensor, averaged in zip(moving(self._network).values(), self.tensors().values(), strict=True):
            own = tensor.clone()
            tensor.copy_(averaged)
            averaged.copy_(own)


def moving(network: nn.Module) -> dict[str, Tensor]:
    """The parameters of a network that are not frozen, by name: what changes one of these changes the network."""
    return {name: parameter.detach() for name, parameter in network.named_parameters() if parameter.requires_grad}
