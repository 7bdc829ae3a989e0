"""How many: by source, and by bucket and split."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from frostline.manifest import SPLITS, Row
from frostline.pages import bars, words
from frostline.pages.parts import Card, Fact
from frostline.survey import distributions, material
from frostline.survey.material import Source

# medium of a row: (one, several)
CALLED = {
    "image": ("image", "images"),
    "clip": ("clip", "clips"),
    "frames": ("folder of frames", "folders of frames"),
    "drawn": ("drawing", "drawings"),
}


class Part(NamedTuple):
    """A stretch of a bar."""

    colour: int
    percent: str  # of the longest bar
    words: str


class Count(NamedTuple):
    """One line of a table of counts, with its bar."""

    name: str
    cells: list[str]
    parts: list[Part]


class Counts(NamedTuple):
    """A table of counts."""

    title: str
    note: str
    header: list[str]
    lines: list[Count]


def by_source(sources: Sequence[Source]) -> Counts:
    """A line per source."""
    most = max((len(source.everything) for source in sources), default=0)
    return Counts(
        "By source",
        "Media are files, folders of frames or drawings; rows are what is cut from them and trained on.",
        ["source", "rows", *SPLITS, "items", "media", "left out"],
        [_source(source, bars.colour(n, len(sources)), most) for n, source in enumerate(sources)],
    )


def _source(source: Source, colour: int, most: int) -> Count:
    rows = source.everything
    numbers = [len(rows), *_splits(rows), len({row.item for row in rows}), len(source.media), len(source.rejected)]
    return Count(source.name, [f"{number:,}" for number in numbers], bar([(source.name, colour, len(rows))], most))


def by_bucket(sources: Sequence[Source]) -> Counts:
    """A line per bucket, its bar in the sources' colours."""
    found = material.buckets(sources)
    most = max((sum(map(len, by_source.values())) for by_source in found.values()), default=0)
    colours = {source.name: bars.colour(n, len(sources)) for n, source in enumerate(sources)}
    lines: list[Count] = []
    for bucket, by_source in found.items():
        rows = [row for group in by_source.values() for row in group]
        numbers = [len(rows), *_splits(rows), len({(row.source, row.item) for row in rows})]
        stretches = [(name, colours[name], len(group)) for name, group in by_source.items()]
        lines.append(Count(words.name(bucket), [f"{number:,}" for number in numbers], bar(stretches, most)))
    note = "A bucket is frames × height × width; rows of a bucket are trained on together."
    return Counts("By bucket and split", note, ["bucket", "rows", *SPLITS, "items"], lines)


def _splits(rows: Iterable[Row]) -> list[int]:
    counts = Counter(row.split for row in rows)
    return [counts[split] for split in SPLITS]


def bar(stretches: Iterable[tuple[str, int, int]], most: int) -> list[Part]:
    """A bar of stretches (name, colour, count), as long as its share of the most."""
    return [Part(colour, f"{100 * n / most:.2f}", f"{name}: {n:,}") for name, colour, n in stretches if n]


def cards(sources: Sequence[Source]) -> list[Card]:
    """A card per source."""
    return [_card(source) for source in sources]


def _card(source: Source) -> Card:
    rows = source.everything
    clips = [row for row in source.media if row.medium != "image"]
    known = [length for length in map(distributions.seconds, clips) if length is not None]
    facts = [
        Fact("rows", f"{len(rows):,}", ""),
        Fact("source items", f"{len({row.item for row in rows}):,}", ""),
        Fact("distinct captions", f"{len({caption for row in rows for caption in row.captions}):,}", ""),
        Fact("left out", f"{len(source.rejected):,}", ""),
    ]
    if known:
        facts.append(Fact("of footage", words.of_seconds(sum(known)), ""))
    return Card(source.name, _kinds(source), facts)


def _kinds(source: Source) -> str:
    """What media there are: 1,200 images; 300 clips."""
    counts = Counter(row.medium for row in source.media)
    found = [words.things(counts[medium], *CALLED[medium]) for medium in sorted(counts)]
    if source.prompts:
        found.append(words.things(len(source.prompts), "caption without media", "captions without media"))
    return "; ".join(found) or "nothing"
