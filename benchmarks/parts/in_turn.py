"""Several ways to the same end, in turn in one process, compared by the seconds of CPU they take.

Other work on the machine takes wall time from whoever runs at the moment, and hardly any CPU seconds. Each round has
every way once, in an order of its own, so that what drifts (clock, caches, neighbours) drifts under all of them.
"""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

CONFIDENCE = 0.95


class Cost(NamedTuple):
    """What a piece of work took."""

    cpu: float  # seconds, all threads of this process
    wall: float

    def per(self, units: float) -> "Cost":
        """Of one of so many units."""
        return Cost(self.cpu / units, self.wall / units)


class Ratio(NamedTuple):
    """How many times one thing is another, over rounds: the median and the bounds of its 95 % interval."""

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"median {self.median:.3g}, 95 % interval {self.low:.3g} to {self.high:.3g} over {self.rounds} rounds"


def cost(work: Callable[[], object]) -> Cost:
    """Do a piece of work; returns what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def rounds(ways: Mapping[str, Callable[[int], Cost]], count: int, warm: int = 1) -> dict[str, list[Cost]]:
    """The costs of each way, which is told the number of the round; the first ``warm`` rounds are not counted."""
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    dice = random.Random(0)  # noqa: S311 - an order
    for number in range(warm + count):
        for name in dice.sample(sorted(ways), len(ways)):
            took = ways[name](number)
            if number >= warm:
                found[name].append(took)
    return found


def ratio(over: Sequence[Cost], under: Sequence[Cost]) -> Ratio:
    """CPU seconds of the one over those of the other, round by round."""
    found = sorted(one.cpu / other.cpu for one, other in zip(over, under, strict=True))
    reach = _outer(len(found))
    middle = (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2
    return Ratio(middle, found[reach], found[-1 - reach], len(found))


def total(costs: Sequence[Cost]) -> Cost:
    """What several pieces of work took together."""
    return Cost(sum(one.cpu for one in costs), sum(one.wall for one in costs))


def mean(costs: Sequence[Cost]) -> Cost:
    """The mean of several costs."""
    return total(costs).per(len(costs))


def _outer(count: int) -> int:
    """How many values at each end lie outside the sign test's interval of the median; none below six rounds."""
    outside, number = 0.0, 0
    while (outside := outside + math.comb(count, number) / 2**count) <= (1 - CONFIDENCE) / 2:
        number += 1
    return max(0, number - 1)
