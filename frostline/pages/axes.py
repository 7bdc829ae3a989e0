"""From values to places along an axis: round ticks, linear or logarithmic, and how numbers are written there."""

import math
from collections.abc import Callable
from typing import NamedTuple

TICKS = 5


class Axis(NamedTuple):
    """A map from data to SVG units, and the values that are marked."""

    place: Callable[[float], float]
    ticks: list[float]


def axis(values: list[float], log: bool, start: float, end: float, given: list[float]) -> Axis:
    """The map from data to units and the ticks; few `given` values are the ticks themselves."""
    low, high = min(values), max(values)
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    ticks = given if 0 < len(given) <= TICKS + 1 else log_ticks(low, high) if log else linear_ticks(low, high)
    low, high = min(low, *ticks), max(high, *ticks)
    scale = math.log if log else float

    def place(value: float) -> float:
        share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        return start + share * (end - start)

    return Axis(place, ticks)


def linear_ticks(low: float, high: float) -> list[float]:
    """Round numbers around a range, about TICKS of them."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [i * step for i in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around a range; powers alone when there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 3 else (1,)
    marks = [factor * 10.0**power for power in powers for factor in factors]
    below, above = [m for m in marks if m <= low], [m for m in marks if m >= high]
    return [*below[-1:], *(m for m in marks if low < m < high), *above[:1]]


def units(value: float) -> str:
    """A place in an SVG."""
    return f"{value:.1f}"


def label(value: float) -> str:
    """A value in words."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
