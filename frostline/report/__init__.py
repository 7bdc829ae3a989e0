"""The evaluation as one page a person reads: pictures first, then numbers, curves, contracts and lineage.

The page is a single HTML file with everything inside (no script, nothing fetched), the same bytes for the same
evaluation: no times, ids, or paths of a machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from frostline import pages
from frostline.evaluation import Bucket, Evaluated, HeldOut, Numbers
from frostline.pages import parts
from frostline.pages.charts import Point
from frostline.pages.parts import Card, Drawing, Table
from frostline.report import cards, curves, galleries, tables
from frostline.report.curves import read_curves, write_plots
from frostline.report.galleries import Gallery, write_pictures

__all__ = ["Page", "compose", "read_curves", "render", "write_pictures", "write_plots"]
TEMPLATE = Path(__file__).parent / "page.html.j2"


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything on the page, in words and pictures."""

    title: str
    summary: list[str]
    missing: list[str]
    cards: list[Card]
    galleries: list[Gallery]
    charts: list[Drawing]
    tables: list[Table]


def render(page: Page) -> str:
    """The page as HTML."""
    return pages.render(TEMPLATE, page)


def compose(
    evaluated: Sequence[Evaluated],
    held_out: Sequence[HeldOut],
    real: Mapping[Bucket, Numbers],
    losses: Mapping[str, Sequence[Point]],
    missing: Sequence[str],
) -> Page:
    """The page of an evaluation. `losses` are training curves by model; `missing` says what could not be measured."""
    names = [one.name for one in evaluated]
    drawn = [*curves.quality(evaluated), *curves.losses(names, losses)]
    return Page(
        title="What the models make of the same noise" if len(names) > 1 else f"What {names[0]} makes of noise",
        summary=[cards.summary(evaluated, held_out), *cards.verdicts(evaluated)],
        missing=list(missing),
        cards=[cards.card(one) for one in evaluated],
        galleries=[galleries.gallery(evaluated, one) for one in held_out],
        charts=[parts.drawing(chart) for chart in drawn if chart.series],
        tables=[
            *(tables.numbers(evaluated, one.bucket, real[one.bucket]) for one in held_out),
            tables.contracts(evaluated),
            tables.lineage(evaluated),
        ],
    )
