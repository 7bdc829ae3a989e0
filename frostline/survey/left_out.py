"""What was left out, and why: counts by reason and source, and examples of each."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from frostline.pages import bars
from frostline.survey import contact, counts
from frostline.survey.contact import Shown
from frostline.survey.counts import Count, Counts
from frostline.survey.material import Source

EXAMPLES = 6  # of one reason


class Example(NamedTuple):
    """One thing that was left out."""

    source: str
    locator: str
    detail: str
    shown: Shown | None


class Reason(NamedTuple):
    """All that was left out for one reason."""

    name: str
    note: str
    examples: list[Example]


def by_reason(sources: Sequence[Source]) -> Counts:
    """A line per reason, most frequent first, a column per source."""
    by_source = [Counter(entry.reason for entry in source.rejected) for source in sources]
    total = sum(by_source, Counter[str]())
    ordered = sorted(total, key=lambda reason: (-total[reason], reason))
    most = max(total.values(), default=0)
    lines = [_line(reason, sources, by_source, most) for reason in ordered]
    return Counts("", "", ["reason", "all", *(source.name for source in sources)], lines)


def _line(reason: str, sources: Sequence[Source], by_source: Sequence[Counter[str]], most: int) -> Count:
    found = [counter[reason] for counter in by_source]
    stretches = [(one.name, bars.colour(n, len(sources)), found[n]) for n, one in enumerate(sources)]
    return Count(_words(reason), [f"{number:,}" for number in (sum(found), *found)], counts.bar(stretches, most))


def reasons(sources: Sequence[Source]) -> list[Reason]:
    """Examples by reason, most frequent first; those with a thumbnail first."""
    total = Counter(entry.reason for source in sources for entry in source.rejected)
    return [_reason(reason, total[reason], sources) for reason in sorted(total, key=lambda name: (-total[name], name))]


def _reason(reason: str, total: int, sources: Sequence[Source]) -> Reason:
    found = [
        Example(source.name, one.locator, one.detail, contact.shown(one.picture, None) if one.picture else None)
        for source in sources
        for one in source.sheet.rejected
        if one.reason == reason
    ]
    seen = {(one.source, one.locator) for one in found}
    found += [
        Example(source.name, one.locator, one.detail, None)
        for source in sources
        for one in source.rejected
        if one.reason == reason and (source.name, one.locator) not in seen
    ]
    found.sort(key=lambda one: one.shown is None)
    return Reason(_words(reason), f"{min(EXAMPLES, len(found))} of {total:,}", found[:EXAMPLES])


def _words(reason: str) -> str:
    return reason.replace("_", " ")
