"""A small student for the exact teacher: a residual network told sigma, the end r and a class."""

import torch
from torch import Tensor, nn

from frostline import randomness
from frostline.path import FlowMapFn, VelocityFn

WIDTH, HIDDEN, BLOCKS, TOLD = 192, 384, 3, 64
FREQUENCIES = (0.25, 0.5, 1.0, 2.0, 4.0)  # in sigma; low, so that a difference over .01 is a derivative


class Block(nn.Module):
    """Two layers beside an identity, scaled and shifted by what is told."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.told = nn.Linear(TOLD, 2 * WIDTH)
        self.layers = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, WIDTH))
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, hidden: Tensor, told: Tensor) -> Tensor:
        """Hidden (B, WIDTH) and what is told (B, TOLD) to hidden."""
        scale, shift = self.told(told).chunk(2, dim=1)
        return hidden + self.layers(self.norm(hidden) * (1 + scale) + shift)


class Network(nn.Module):
    """u(noised (B, D), sigma (B,), end (B,), class (B,)) -> (B, D)."""

    def __init__(self, dimensions: int, classes: int) -> None:
        super().__init__()
        waves = 2 * len(FREQUENCIES)
        self.sigma = nn.Sequential(nn.Linear(waves, TOLD), nn.SiLU(), nn.Linear(TOLD, TOLD))
        self.end, last = nn.Sequential(nn.Linear(waves, TOLD), nn.SiLU()), nn.Linear(TOLD, TOLD)
        self.end.append(last)
        self.label = nn.Embedding(classes, TOLD)
        self.into = nn.Linear(dimensions, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.out, self.straight = nn.Linear(WIDTH, dimensions), nn.Linear(TOLD, 1)
        for layer in (self.out, self.straight, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, noised: Tensor, sigma: Tensor, end: Tensor, label: Tensor) -> Tensor:
        """The mean velocity (B, D) from sigma to end."""
        told = nn.functional.silu(self.sigma(_waves(sigma)) + self.end(_waves(end)) + self.label(label))
        hidden = self.into(noised)
        for block in self.blocks:
            hidden = block(hidden, told)
        return self.out(hidden) + self.straight(told) * noised


def _waves(sigma: Tensor) -> Tensor:
    angles = 2 * torch.pi * sigma.double()[:, None] * torch.tensor(FREQUENCIES, dtype=torch.float64)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def create(dimensions: int, classes: int, seed: int) -> Network:
    """A network of one seed; the global random state stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.seed("small student", seed))
        return Network(dimensions, classes)


def velocity_fn(network: nn.Module, label: Tensor) -> VelocityFn:
    """A network read as a velocity: its end is where it begins."""

    def velocity(noised: Tensor, sigma: Tensor) -> Tensor:
        return network(noised, sigma, sigma, label)

    return velocity


def flow_map_fn(network: nn.Module, label: Tensor) -> FlowMapFn:
    """A network read as a flow map."""

    def mean_velocity(noised: Tensor, sigma: Tensor, end: Tensor) -> Tensor:
        return network(noised, sigma, end, label)

    return mean_velocity
