"""What pages are made of, in words and pictures; parts.html.j2 knows how each looks."""

from typing import NamedTuple

import markupsafe

from frostline.pages import charts
from frostline.pages.charts import Chart


class Fact(NamedTuple):
    """One number of a card."""

    label: str
    value: str
    error: str


class Card(NamedTuple):
    """One thing in short."""

    name: str
    role: str
    facts: list[Fact]


class Drawing(NamedTuple):
    """A chart as it stands in the page."""

    title: str
    note: str
    svg: markupsafe.Markup
    legend: list[tuple[str, int]]


class Line(NamedTuple):
    """One row of a table."""

    name: str
    cells: list[str]
    remark: str
    differs: bool


class Table(NamedTuple):
    """A table; every row has as many cells as the header, less its name and remark."""

    title: str
    note: str
    header: list[str]
    rows: list[Line]
    kind: str  # of its cells: number or digest


def drawing(chart: Chart) -> Drawing:
    """A chart, drawn."""
    return Drawing(chart.title, chart.note, markupsafe.Markup(charts.svg(chart)), chart.legend)  # noqa: S704 (charts escapes)
