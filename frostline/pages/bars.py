"""How often values occur, as stacked bars in inline SVG.

Units: as in charts.py. Bins are equally wide on the page, whatever their edges: linear where the values lie close
together, 1, 2 and 5 times powers of ten where they do not, or one bin per value where there are few.
"""

import bisect
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from frostline.pages import axes
from frostline.pages.axes import label, units
from frostline.pages.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH

COLOURS = 6
OTHERS = "others"
FAR = 30.0  # the largest value over the smallest from which bins are logarithmic
FEW = 8  # distinct values that get a bar each
LABELS = 10  # along the axis, at most
GAP = 3.0  # units between bars


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One colour of the bars."""

    name: str
    colour: int
    counts: tuple[int, ...]  # one per bin


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often values lie in each bin."""

    title: str
    note: str
    x: str  # what the values are, with their unit
    marks: tuple[float, ...]  # the value of each bin, or its edges: one more than there are bins
    layers: tuple[Layer, ...]

    @property
    def bins(self) -> int:
        """Number of bars."""
        return len(self.layers[0].counts)

    @property
    def legend(self) -> list[tuple[str, int]]:
        """Names and colours."""
        return [(layer.name, layer.colour) for layer in self.layers]


def histogram(title: str, note: str, x: str, values: Mapping[str, Sequence[float]]) -> Histogram:
    """Bars of values by group, a colour each; raises ValueError if there is no value."""
    everything = sorted(value for group in values.values() for value in group)
    distinct = list(dict.fromkeys(everything))
    marks = distinct if len(distinct) <= FEW else _edges(distinct[0], distinct[-1])
    layers = [
        Layer(name=name, colour=colour, counts=_counts(group, marks, single=marks is distinct))
        for name, colour, group in _groups(values)
    ]
    return Histogram(title=title, note=note, x=x, marks=tuple(marks), layers=tuple(layers))


def colour(place: int, groups: int) -> int:
    """The colour of a group by its place among all: the same in every chart, the last one for all that are left."""
    return place if groups <= COLOURS else min(place, COLOURS - 1)


def _groups(values: Mapping[str, Sequence[float]]) -> list[tuple[str, int, list[float]]]:
    """Groups that have values, with their colours; groups of one colour together."""
    found: dict[int, tuple[str, list[float]]] = {}
    for place, (name, group) in enumerate(values.items()):
        shade = colour(place, len(values))
        others = len(values) > COLOURS and shade == COLOURS - 1
        found.setdefault(shade, (OTHERS if others else name, []))[1].extend(group)
    return [(name, shade, group) for shade, (name, group) in found.items() if group]


def _edges(low: float, high: float) -> list[float]:
    """Round edges around a range, about a dozen bins or more."""
    if low > 0 and high / low >= FAR:
        return _log_edges(low, high)
    ticks = axes.linear_ticks(low, high)
    step = (ticks[1] - ticks[0]) / 2  # twice as fine as ticks are
    first, last = math.floor(low / step + 1e-9), math.floor(high / step + 1e-9) + 1
    return [place * step for place in range(first, last + 1)]


def _log_edges(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high / low < 1000 else (1.0, 2.0, 5.0)
    marks = [factor * 10.0**decade for decade in decades for factor in factors]
    first = max(place for place, mark in enumerate(marks) if mark <= low)
    last = next(place for place, mark in enumerate(marks) if mark > high)
    return marks[first : last + 1]


def _counts(values: Iterable[float], marks: Sequence[float], *, single: bool) -> tuple[int, ...]:
    bins = len(marks) if single else len(marks) - 1
    counts = [0] * bins
    for value in values:
        counts[min(max(bisect.bisect_right(marks, value) - 1, 0), bins - 1)] += 1
    return tuple(counts)


def svg(shown: Histogram) -> str:
    """The bars as an <svg> element."""
    totals = [sum(counts) for counts in zip(*(layer.counts for layer in shown.layers), strict=True)]
    y = axes.axis([0.0, float(max(totals))], False, HEIGHT - BOTTOM, TOP, given=[])
    words = html.escape(f"{shown.title}: how many, against {shown.x}")
    parts = [*_frame(shown, y), *_bars(shown, y)]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{"".join(parts)}</svg>'


def _frame(shown: Histogram, y: axes.Axis) -> list[str]:
    lines = [
        f'<line class="grid" x1="{LEFT}" y1="{units(y.place(t))}" x2="{WIDTH - RIGHT}" y2="{units(y.place(t))}"/>'
        f'<text x="{LEFT - 6}" y="{units(y.place(t) + 4)}" text-anchor="end">{label(t)}</text>'
        for t in y.ticks
        if t == int(t)  # things are counted whole
    ]
    middle = units((LEFT + WIDTH - RIGHT) / 2)
    title = f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{html.escape(shown.x)}</text>'
    return [*lines, *_marks(shown), title]


def _marks(shown: Histogram) -> list[str]:
    """Values below the middles of their bars, edges below the gaps; every n-th where there is no room for all."""
    width = (WIDTH - LEFT - RIGHT) / shown.bins
    shift = width / 2 if len(shown.marks) == shown.bins else 0.0
    every = -(-len(shown.marks) // LABELS)
    return [
        f'<text x="{units(LEFT + shift + place * width)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
        f"{label(mark)}</text>"
        for place, mark in enumerate(shown.marks)
        if place % every == 0
    ]


def _bars(shown: Histogram, y: axes.Axis) -> list[str]:
    width = (WIDTH - LEFT - RIGHT) / shown.bins
    floors = [0] * shown.bins
    parts: list[str] = []
    for layer in shown.layers:
        inside = ""
        for place, count in enumerate(layer.counts):
            if count:
                top, bottom = y.place(floors[place] + count), y.place(floors[place])
                inside += (
                    f'<rect x="{units(LEFT + place * width + GAP / 2)}" y="{units(top)}" width="{units(width - GAP)}" '
                    f'height="{units(max(bottom - top, 1.0))}"><title>{_words(shown, layer, place)}</title></rect>'
                )
                floors[place] += count
        parts.append(f'<g class="c{layer.colour}">{inside}</g>')
    return parts


def _words(shown: Histogram, layer: Layer, place: int) -> str:
    single = len(shown.marks) == shown.bins
    where = label(shown.marks[place]) if single else f"{label(shown.marks[place])} to {label(shown.marks[place + 1])}"
    return html.escape(f"{layer.name}: {layer.counts[place]:,} at {where}")
