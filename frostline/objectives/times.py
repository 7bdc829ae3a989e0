"""At which sigmas a step asks its rows: one for each, or two where a network is told where to go as well.

Legend
    sigma  where a row is asked      (B,) float64
    end    where it is to go, below  (B,) float64
    times  sigma, or [sigma, end], or [sigma, step, key]    (B,), (B, 2) or (B, 3)

What is drawn is a function of the generator alone, so that it is the same for any number of processes.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from frostline import diffusion, schedule
from frostline.contract import Process
from frostline.errors import WrongUse
from frostline.objectives.flow_map import Ends

SIGMA, STEP, KEY = 0, 1, 2  # columns of what Simulated draws
CLAMP = (0.02, 0.98)  # of the sigmas at which teacher and critic are compared
KEYS = 1 << 53  # whole numbers that float64 tells apart


class Times(abc.ABC):
    """Draws the times of a step's rows."""

    @abc.abstractmethod
    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """Times of the rows of a step."""

    @abc.abstractmethod
    def spread(self, rows: int) -> Tensor:
        """Times of the rows of a validation: always the same, evenly over all that are drawn."""


@final
@dataclass(frozen=True, kw_only=True)
class Sigmas(Times):
    """One sigma for each row, drawn as a contract says."""

    process: Process

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """See Times."""
        drawn = schedule.DRAWS[self.process.draws](rows, self.process.shift, generator)
        return diffusion.within(drawn, self.process)

    def spread(self, rows: int) -> Tensor:
        """See Times."""
        middle = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
        return diffusion.within(schedule.shift(middle, self.process.shift), self.process)


@final
@dataclass(frozen=True, kw_only=True)
class Jumps(Times):
    """Two points of a trajectory for each row, of those that were kept.

    A share of the rows begins at the noise, a share goes all the way: those jumps decide how few steps do.
    """

    sigmas: Sequence[float]  # falling from 1 to 0
    from_noise: float = 0.25
    to_clean: float = 0.25

    def __post_init__(self) -> None:
        falls = all(a > b for a, b in zip(self.sigmas, self.sigmas[1:], strict=False))
        if len(self.sigmas) < 2 or not falls or min(self.from_noise, self.to_clean) < 0:
            raise WrongUse(f"jumps between sigmas {list(self.sigmas)}: give two or more that fall")
        if self.from_noise + self.to_clean > 1:
            raise WrongUse(f"shares of jumps {self.from_noise:g} and {self.to_clean:g}: together at most 1")

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """See Times."""
        kind, high, low = torch.rand(3, rows, dtype=torch.float64, generator=generator)
        last = len(self.sigmas) - 1
        begin = torch.where(kind < self.from_noise, 0, (high * last).long())
        end = begin + 1 + (low * (last - begin)).long()
        return self._at(begin, torch.where(kind >= 1 - self.to_clean, last, end))

    def spread(self, rows: int) -> Tensor:
        """See Times."""
        last = len(self.sigmas) - 1
        pairs = torch.combinations(torch.arange(last + 1), 2)
        chosen = pairs[torch.arange(rows) * len(pairs) // rows]
        return self._at(chosen[:, 0], chosen[:, 1])

    def _at(self, begin: Tensor, end: Tensor) -> Tensor:
        found = torch.tensor(self.sigmas, dtype=torch.float64)
        return torch.stack([found[begin], found[end]], dim=1)


@final
@dataclass(frozen=True, kw_only=True)
class Simulated(Times):
    """Of students that learn on what they make: [sigma, step, key].

    sigma  where what was made is compared, uniform in u, shifted, clamped
    step   of their sampler that makes it, one for all rows: as many passes on every process
    key    from which more noise is drawn for the row
    """

    steps: int  # of the sampler
    shift: float

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """See Times."""
        sigma = compared(rows, self.shift, generator)
        step = torch.randint(self.steps, (1,), generator=generator).expand(rows)
        key = torch.randint(KEYS, (rows,), generator=generator)
        return torch.stack([sigma, step.double(), key.double()], dim=1)

    def spread(self, rows: int) -> Tensor:
        """See Times; what the last step makes."""
        middle = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
        sigma = schedule.shift(middle, self.shift).clamp(*CLAMP)
        key = torch.arange(rows, dtype=torch.float64)
        return torch.stack([sigma, torch.full_like(sigma, self.steps - 1), key], dim=1)


@final
@dataclass(frozen=True, kw_only=True)
class Beside(Times):
    """Those of two objectives side by side: [sigma of the first | columns of the second]."""

    first: Times
    second: Times

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """See Times."""
        return torch.cat([self.first.draw(rows, generator)[:, None], self.second.draw(rows, generator)], dim=1)

    def spread(self, rows: int) -> Tensor:
        """See Times."""
        return torch.cat([self.first.spread(rows)[:, None], self.second.spread(rows)], dim=1)


@final
@dataclass(frozen=True, kw_only=True)
class Between(Times):
    """A sigma for each row as a contract says, and an end below it: [sigma, end]."""

    process: Process
    ends: Ends

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """See Times."""
        sigma = Sigmas(process=self.process).draw(rows, generator)
        return torch.stack([sigma, self.ends.draw(sigma, self.process.shift, generator)], dim=1)

    def spread(self, rows: int) -> Tensor:
        """See Times; each goes all the way."""
        sigma = Sigmas(process=self.process).spread(rows)
        return torch.stack([sigma, torch.zeros_like(sigma)], dim=1)


def divisors_of(number: int) -> tuple[int, ...]:
    """In how many steps one may go a way that has ``number`` of the same kind."""
    return tuple(steps for steps in range(1, number + 1) if number % steps == 0)


def compared(rows: int, shift: float, generator: torch.Generator) -> Tensor:
    """Where teacher and critic are compared (B,): uniform in u, shifted, clamped."""
    return schedule.draw_uniform(rows, shift, generator).clamp(*CLAMP)


def of(process: Process) -> Times:
    """Of a training on noised latents."""
    return Sigmas(process=process)
