"""A model's networks on one device, only the one that is asked at a time: two experts take the room of one."""

from typing import Any

import torch
from torch import Tensor, nn

from frostline.path import VelocityFn


class Residence:
    """Brings each network to a device when it is called, and takes the one before it back."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._here: nn.Module | None = None

    def take(self, network: nn.Module) -> None:
        """Have a network come from now on; on a CPU all of them stay where they are."""
        if self.device.type != "cpu":
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

    def velocity(self, asked: VelocityFn) -> VelocityFn:
        """A velocity of networks that live here, for latents that stay on the CPU, as samplers have them."""

        def there(noised: Tensor, sigma: Tensor) -> Tensor:
            return asked(noised.to(self.device), sigma.to(self.device)).to(noised.device)

        return there if self.device.type != "cpu" else asked
