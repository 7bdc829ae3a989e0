from typing import Any

import torch
from torch import Tensor, nn

from frostline.residence import Residence


class Moved(nn.Module):
    """Remembers where it was taken."""

    def __init__(self):
        super().__init__()
        self.places: list[str] = []

    def to(self, *args: Any, **_: Any) -> Any:
        self.places.append(str(args[0]))
        return self

    def forward(self, noised: Tensor) -> Tensor:
        return noised + 1


def test_only_the_network_that_is_asked_is_there():
    high, low, residence = Moved(), Moved(), Residence("meta")
    for network in (high, low):
        residence.take(network)
    for network in (high, high, low, high):
        network(torch.zeros(1))
    assert high.places == ["meta", "cpu", "meta"]
    assert low.places == ["meta", "cpu"]
    residence.leave()
    residence.leave()
    assert high.places == ["meta", "cpu", "meta", "cpu"]


def test_latents_stay_where_samplers_have_them():
    seen = []

    def asked(noised: Tensor, sigma: Tensor) -> Tensor:
        seen.append((noised.device.type, sigma.device.type))
        return torch.ones(2)

    noised, sigma = torch.zeros(2), torch.ones(1)
    assert torch.equal(Residence("meta").velocity(asked)(noised, sigma), torch.ones(2))
    Residence("cpu").velocity(asked)(noised, sigma)
    assert seen == [("meta", "meta"), ("cpu", "cpu")]


def test_nothing_moves_on_a_cpu():
    network, residence = Moved(), Residence("cpu")
    residence.take(network)
    network(torch.zeros(1))
    residence.leave()
    assert network.places == []
