"""The prepared data as one page a person reads before a GPU-hour is spent: what stands out first, then counts, spreads,
captions, contact sheets, what was left out and why, and what it will cost.

A single HTML file with everything inside (no script, nothing fetched), the same bytes for the same data: no times, and
no paths but the media's names in their source.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline import pages
from frostline.contract import LatentSpace
from frostline.manifest import SPLITS, Row
from frostline.pages import words
from frostline.pages.parts import Card, Fact, Table
from frostline.params import Params
from frostline.survey import captions as caption_counts
from frostline.survey import contact, costs, counts, distributions, findings, forecast, left_out, material, of_all
from frostline.survey.captions import Captions
from frostline.survey.contact import ContactSheet
from frostline.survey.counts import Counts
from frostline.survey.distributions import Spread
from frostline.survey.findings import Finding
from frostline.survey.forecast import Forecast, Tokens
from frostline.survey.left_out import Reason
from frostline.survey.material import Source, read

__all__ = ["Page", "Survey", "compose", "numbers", "read", "render", "survey"]
TEMPLATE = Path(__file__).parent / "page.html.j2"


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found in the sources."""

    sources: Sequence[Source]
    captions: Captions
    costs: Forecast
    findings: list[Finding]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything on the page, in words and pictures."""

    title: str
    summary: list[str]
    missing: list[str]
    findings: list[findings.Group]
    cards: list[Card]
    counts: list[Counts]
    media: Spread
    captions: Captions
    caption_spread: Spread
    most_word: int  # captions with the most frequent word
    sheets: list[ContactSheet]
    left_out: Counts
    reasons: list[Reason]
    totals: list[Fact]
    costs: list[Table]


def survey(sources: Sequence[Source], settings: Params, space: LatentSpace, tokens: Tokens) -> Survey:
    """Count, measure and judge."""
    said = caption_counts.survey(sources)
    cost = forecast.forecast(sources, settings, space, tokens)
    return Survey(sources=sources, captions=said, costs=cost, findings=of_all.look(sources, said, cost))


def compose(found: Survey) -> Page:
    """The page of a survey."""
    sources = found.sources
    return Page(
        title="What the models will be trained on",
        summary=[_summary(sources)],
        missing=[],
        findings=findings.groups(found.findings),
        cards=counts.cards(sources),
        counts=[counts.by_source(sources), counts.by_bucket(sources)],
        media=distributions.of_media(sources),
        captions=found.captions,
        caption_spread=distributions.of_captions(found.captions, found.costs),
        most_word=max((count for _, count in found.captions.words), default=1),
        sheets=contact.sheets(sources),
        left_out=left_out.by_reason(sources),
        reasons=left_out.reasons(sources),
        totals=costs.totals(found.costs),
        costs=costs.tables(found.costs),
    )


def render(page: Page) -> str:
    """The page as HTML."""
    return pages.render(TEMPLATE, page)


def numbers(found: Survey) -> dict[str, Any]:
    """The survey in numbers, for `dvc metrics` and for programs."""
    everything = [row for source in found.sources for row in source.everything]
    cost = found.costs
    return {
        **_counted(everything),
        "rejected": sum(len(source.rejected) for source in found.sources),
        "findings": {weight: sum(f.weight == weight for f in found.findings) for weight in ("wrong", "look")},
        "captions": {"distinct": found.captions.distinct, "used": found.captions.used},
        "sources": {source.name: _of_source(source) for source in found.sources},
        "buckets": {
            words.name(bucket): _counted([row for rows in by_source.values() for row in rows])
            for bucket, by_source in material.buckets(found.sources).items()
        },
        "cost": {
            "latent_bytes": sum(one.latent_bytes for one in cost.buckets),
            "text_bytes": sum(one.text_bytes for one in cost.texts),
            "vae_calls": sum(one.calls for one in cost.buckets),
            "trainings": _trainings(cost),
        },
    }


def _counted(rows: Sequence[Row]) -> dict[str, int]:
    splits = Counter(row.split for row in rows)
    items = len({(row.source, row.item) for row in rows})
    return {"items": items, "rows": len(rows), **{split: splits[split] for split in SPLITS}}


def _of_source(source: Source) -> dict[str, Any]:
    reasons = Counter(entry.reason for entry in source.rejected)
    seconds = sum(length for length in map(distributions.seconds, source.media) if length is not None)
    found = {**_counted(source.everything), "media": len(source.media), "seconds": round(seconds, 3)}
    return {**found, "rejected": {"all": len(source.rejected), **reasons}}


def _trainings(cost: Forecast) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for run in cost.runs:
        facts = {"rows": run.rows, "tokens_per_row": run.tokens, "tokens_per_step": run.step_tokens}
        found.setdefault(run.run, {})[run.bucket] = {**facts, "times_seen": round(run.seen, 3)}
    return found


def _summary(sources: Sequence[Source]) -> str:
    rows = [row for source in sources for row in source.everything]
    items = len({(row.source, row.item) for row in rows})
    buckets = len(material.buckets(sources))
    left = sum(len(source.rejected) for source in sources)
    found = f"{words.things(len(rows), 'row')} of {words.things(items, 'item')}"
    places = f"from {words.things(len(sources), 'source')}, in {words.things(buckets, 'bucket')}"
    return f"{found} {places}; {left:,} left out."
