"""A model's networks on one device, only the one that is asked at a time: two experts take the room of one.

Or, where that is too much, only the block that computes: see ``offloading``.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from frostline import offloading


class Residence:
    """Brings each network to a device when it is called, and takes the one before it back."""

    def __init__(self, device: str, *, offload: bool = False) -> None:
        """``offload`` brings a network's blocks one by one."""
        self.device, self.offload = torch.device(device), offload
        self._here: nn.Module | None = None

    def take(self, network: nn.Module) -> None:
        """Have a network come from now on; on a CPU all of them stay where they are."""
        if self.device.type == "cpu":
            return
        if self.offload:
            offloading.spread(network, self.device)
        else:
            network.register_forward_pre_hook(self._bring)

    def leave(self) -> None:
        """Take back what is there: the device is free for others."""
        if self._here is not None:
            self._here.to("cpu")
        self._here = None

    def _bring(self, network: nn.Module, *_: Any) -> None:
        if network is not self._here:
            self.leave()
            self._here = network.to(self.device)

    def velocity(self, asked: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A VelocityFn or FlowMapFn of networks that live here, for latents that stay on the CPU, as samplers have."""

        def there(noised: Tensor, *sigmas: Tensor) -> Tensor:
            return asked(noised.to(self.device), *(sigma.to(self.device) for sigma in sigmas)).to(noised.device)

        return there if self.device.type != "cpu" else asked
