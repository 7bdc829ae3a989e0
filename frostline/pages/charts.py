"""Curves as inline SVG, drawn here so that a page follows its reader's light or dark setting, and the same points are
the same bytes.

Units: a chart is 480 x 260 SVG units whatever its width on the page; x and y of points are data values.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from frostline.pages import axes
from frostline.pages.axes import Axis, label, units

WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 24, 12, 38


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


def svg(chart: Chart) -> str:
    """The chart as an <svg> element; raises ValueError if a chart has no point."""
    points = [point for one in chart.series for point in one.points]
    x = axes.axis([p.x for p in points], chart.log_x, LEFT, WIDTH - RIGHT, given=sorted({p.x for p in points}))
    y = axes.axis(
        [v for p in points for v in (p.y - p.error, p.y + p.error)], chart.log_y, HEIGHT - BOTTOM, TOP, given=[]
    )
    parts = [*_frame(chart, x, y), *(part for one in chart.series for part in _series(one, x, y))]
    title = html.escape(f"{chart.title}: {chart.y} against {chart.x}")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def _frame(chart: Chart, x: Axis, y: Axis) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = [
        f'<line class="grid" x1="{LEFT}" y1="{units(y.place(t))}" x2="{WIDTH - RIGHT}" y2="{units(y.place(t))}"/>'
        f'<text x="{LEFT - 6}" y="{units(y.place(t) + 4)}" text-anchor="end">{label(t)}</text>'
        for t in y.ticks
    ]
    parts += [
        f'<text x="{units(x.place(t))}" y="{bottom + 16}" text-anchor="middle">{label(t)}</text>' for t in x.ticks
    ]
    middle = units((LEFT + WIDTH - RIGHT) / 2)
    return [*parts, f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{html.escape(chart.x)}</text>']


def _series(one: Series, x: Axis, y: Axis) -> list[str]:
    places = [(units(x.place(p.x)), units(y.place(p.y))) for p in one.points]
    parts = [f'<polyline class="line" points="{" ".join(f"{px},{py}" for px, py in places)}"/>']
    for point, (px, py) in zip(one.points, places, strict=True):
        if point.error:
            low, high = units(y.place(point.y - point.error)), units(y.place(point.y + point.error))
            parts.append(f'<line class="bar" x1="{px}" y1="{low}" x2="{px}" y2="{high}"/>')
        if one.dots:
            words = html.escape(f"{one.name}: {label(point.y)} at {label(point.x)}")
            parts.append(f'<circle cx="{px}" cy="{py}" r="3.5"><title>{words}</title></circle>')
    return [f'<g class="c{one.colour % 6}">', *parts, "</g>"]


def thinned(points: Sequence[Point], most: int = 240) -> tuple[Point, ...]:
    """At most `most` points: the means of equal runs of a longer curve, so that no spike is picked out by chance."""
    run = -(-len(points) // most)
    parts = [points[at : at + run] for at in range(0, len(points), run)]
    return tuple(Point(sum(p.x for p in part) / len(part), sum(p.y for p in part) / len(part), 0.0) for part in parts)
