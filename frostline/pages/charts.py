"""Curves as inline SVG, drawn here so that a page follows its reader's light or dark setting, and the same points are
the same bytes.

Units: a chart is 480 x 260 SVG units whatever its width on the page; x and y of points are data values.
"""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 24, 12, 38
TICKS = 5


class Point(NamedTuple):
    """A value with its standard error (0: none is drawn)."""

    x: float
    y: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart."""

    name: str
    colour: int
    points: tuple[Point, ...]
    dots: bool


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a chart shows."""

    title: str
    note: str
    x: str
    y: str
    series: tuple[Series, ...]
    log_x: bool
    log_y: bool

    @property
    def legend(self) -> list[tuple[str, int]]:
        """Names and colours."""
        return [(one.name, one.colour) for one in self.series]


class _Axis(NamedTuple):
    place: Callable[[float], float]
    ticks: list[float]


def svg(chart: Chart) -> str:
    """The chart as an <svg> element; raises ValueError if a chart has no point."""
    points = [point for one in chart.series for point in one.points]
    x = _axis([p.x for p in points], chart.log_x, LEFT, WIDTH - RIGHT, given=sorted({p.x for p in points}))
    y = _axis([v for p in points for v in (p.y - p.error, p.y + p.error)], chart.log_y, HEIGHT - BOTTOM, TOP, given=[])
    parts = [*_frame(chart, x, y), *(part for one in chart.series for part in _series(one, x, y))]
    title = html.escape(f"{chart.title}: {chart.y} against {chart.x}")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def _axis(values: list[float], log: bool, start: float, end: float, given: list[float]) -> _Axis:
    """The map from data to units and the ticks; few `given` values are the ticks themselves."""
    low, high = min(values), max(values)
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    ticks = given if 0 < len(given) <= TICKS + 1 else _log_ticks(low, high) if log else _linear_ticks(low, high)
    low, high = min(low, *ticks), max(high, *ticks)
    scale = math.log if log else float

    def place(value: float) -> float:
        share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        return start + share * (end - start)

    return _Axis(place, ticks)


def _linear_ticks(low: float, high: float) -> list[float]:
    """Round numbers around a range, about TICKS of them."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [i * step for i in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around a range; powers alone when there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 3 else (1,)
    marks = [factor * 10.0**power for power in powers for factor in factors]
    below, above = [m for m in marks if m <= low], [m for m in marks if m >= high]
    return [*below[-1:], *(m for m in marks if low < m < high), *above[:1]]


def _frame(chart: Chart, x: _Axis, y: _Axis) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = [
        f'<line class="grid" x1="{LEFT}" y1="{_n(y.place(t))}" x2="{WIDTH - RIGHT}" y2="{_n(y.place(t))}"/>'
        f'<text x="{LEFT - 6}" y="{_n(y.place(t) + 4)}" text-anchor="end">{_label(t)}</text>'
        for t in y.ticks
    ]
    parts += [f'<text x="{_n(x.place(t))}" y="{bottom + 16}" text-anchor="middle">{_label(t)}</text>' for t in x.ticks]
    middle = _n((LEFT + WIDTH - RIGHT) / 2)
    return [*parts, f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{html.escape(chart.x)}</text>']


def _series(one: Series, x: _Axis, y: _Axis) -> list[str]:
    places = [(_n(x.place(p.x)), _n(y.place(p.y))) for p in one.points]
    parts = [f'<polyline class="line" points="{" ".join(f"{px},{py}" for px, py in places)}"/>']
    for point, (px, py) in zip(one.points, places, strict=True):
        if point.error:
            low, high = _n(y.place(point.y - point.error)), _n(y.place(point.y + point.error))
            parts.append(f'<line class="bar" x1="{px}" y1="{low}" x2="{px}" y2="{high}"/>')
        if one.dots:
            words = html.escape(f"{one.name}: {_label(point.y)} at {_label(point.x)}")
            parts.append(f'<circle cx="{px}" cy="{py}" r="3.5"><title>{words}</title></circle>')
    return [f'<g class="c{one.colour % 6}">', *parts, "</g>"]


def _n(value: float) -> str:
    return f"{value:.1f}"


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def thinned(points: Sequence[Point], most: int = 240) -> tuple[Point, ...]:
    """At most `most` points: the means of equal runs of a longer curve, so that no spike is picked out by chance."""
    run = -(-len(points) // most)
    parts = [points[at : at + run] for at in range(0, len(points), run)]
    return tuple(Point(sum(p.x for p in part) / len(part), sum(p.y for p in part) / len(part), 0.0) for part in parts)
