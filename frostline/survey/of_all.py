"""What stands out of all sources together: copies and leaks, uneven buckets, captions, trainings without data.

The mistakes that cost weeks of training, each looked for and said in a sentence.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from frostline.manifest import SPLITS, Row
from frostline.pages import words
from frostline.survey import findings, material, of_source
from frostline.survey.captions import Captions
from frostline.survey.findings import Finding, Weight
from frostline.survey.forecast import Forecast, RunCost
from frostline.survey.material import Source

SMALL = 0.01  # share of all rows below which a bucket is hardly trained
SAME_CAPTION = 0.1  # share of a source's rows that may have one caption
SEEN = 100  # times a training may show one row


def look(sources: Sequence[Source], captions: Captions, costs: Forecast) -> list[Finding]:
    """What is wrong first, then what a person should look at."""
    found = [finding for source in sources for finding in of_source.look(source)]
    found += [*_leaks(sources), *_repeated_media(sources), *_uneven(sources), *_same_captions(sources, captions)]
    found += [*_cut_captions(costs), *_trainings(costs, sources)]
    return sorted(found, key=lambda finding: finding.weight != "wrong")


def _leaks(sources: Sequence[Source]) -> Iterator[Finding]:
    """The same bytes on both sides of a split."""
    splits: dict[str, set[str]] = defaultdict(set)
    places: dict[str, Row] = {}
    for source in sources:
        for row in source.rows:
            splits[row.content].add(row.split)
            places.setdefault(row.content, row)
    leaking = [places[content] for content, found in splits.items() if "train" in found and len(found) > 1]
    if leaking:
        yield Finding(
            "wrong",
            "leak",
            f"{words.things(len(leaking), 'medium', 'media')} in train and, with the same bytes, in "
            f"a held-out split ({findings.names(leaking)}): what is measured there is memory. Take one copy out.",
            "counts",
        )


def _repeated_media(sources: Sequence[Source]) -> Iterator[Finding]:
    """The same bytes under several names."""
    copies: dict[str, dict[tuple[str, str], Row]] = defaultdict(dict)
    for source in sources:
        for row in source.media:
            copies[row.content].setdefault((row.source, row.locator), row)
    several = [list(found.values()) for found in copies.values() if len(found) > 1]
    if several:
        extra = sum(len(found) - 1 for found in several)
        total = sum(len(source.media) for source in sources)
        yield Finding(
            "look",
            "duplicated",
            f"{words.share(extra, total)} of the media are further copies of the same bytes, {extra:,} in all "
            f"({findings.names(several[0])} are one).",
            "counts",
        )


def _uneven(sources: Sequence[Source]) -> Iterator[Finding]:
    """Buckets without a split, and buckets that hardly count."""
    found = {
        words.name(bucket): [row for rows in by_source.values() for row in rows]
        for bucket, by_source in material.buckets(sources).items()
    }
    for split in SPLITS:
        without = [name for name, rows in found.items() if not any(row.split == split for row in rows)]
        if without:
            have = "Bucket {} has" if len(without) == 1 else "Buckets {} have"
            text = f"{have.format(findings.listed(without))} no row in {split}."
            yield Finding("wrong" if split == "train" else "look", "splits", text, "counts")
    total = sum(map(len, found.values()))
    small = [f"{name} ({words.things(len(rows), 'row')})" for name, rows in found.items() if len(rows) < SMALL * total]
    if small:
        yield Finding("look", "uneven", f"Less than {SMALL:.0%} of all rows lie in {findings.listed(small)}.", "counts")


def _same_captions(sources: Sequence[Source], captions: Captions) -> Iterator[Finding]:
    shared = [said for source in sources for said in _shared(source)]
    if shared:
        text = f"Many rows share one caption: {findings.listed(shared)}. A caption that says what is seen teaches more."
        yield Finding("look", "captions", text, "captions")
    blank = sum(1 for source in sources for row in source.everything if not any(map(str.strip, row.captions)))
    if blank:
        text = f"{words.things(blank, 'row')} without a caption; set a captioner, or filters.caption_characters."
        yield Finding("wrong", "captions", text, "captions")
    if captions.distinct == 1 and captions.used > 1:
        text = "There is one caption for everything: a model cannot learn words from it."
        yield Finding("wrong", "captions", text, "captions")


def _shared(source: Source) -> Iterator[str]:
    """The caption that most rows of a source share, where they are many."""
    counts = Counter(caption for row in source.everything for caption in set(row.captions))
    if counts:
        first = min(counts, key=lambda caption: (-counts[caption], caption))
        if counts[first] > max(1, SAME_CAPTION * len(source.everything)):
            yield f"“{findings.short(first)}” {words.share(counts[first], len(source.everything))} of {source.name}"


def _cut_captions(costs: Forecast) -> Iterator[Finding]:
    cut = [f"{words.share(text.cut, 1)} of {text.source}" for text in costs.texts if text.cut]
    if cut:
        limit = f"the {costs.space.text_length} tokens that a transformer sees"
        text = f"Captions longer than {limit}: {findings.listed(cut)}. What is longer is cut off."
        yield Finding("look", "captions", text, "captions")


def _trainings(costs: Forecast, sources: Sequence[Source]) -> Iterator[Finding]:
    runs: dict[str, list[RunCost]] = {}
    for run in costs.runs:
        runs.setdefault(run.run, []).append(run)
    for name, of_run in runs.items():
        yield from (Finding(weight, "trainings", f"{name} {text}", "costs") for weight, text in _training(of_run))
    used = {run.bucket for run in costs.runs}
    idle = [name for name in map(words.name, material.buckets(sources)) if name not in used]
    if costs.runs and idle:
        they = "it is" if len(idle) == 1 else "they are"
        text = f"No training in params uses {findings.listed(idle)}: {they} cached in vain."
        yield Finding("look", "trainings", text, "costs")


def _training(runs: Sequence[RunCost]) -> Iterator[tuple[Weight, str]]:
    """What is wrong with the buckets of one training, as the rest of a sentence that begins with its name."""
    absent = [run.bucket for run in runs if not run.rows]
    if absent:
        yield "wrong", f"trains on {findings.listed(absent)}, of which there is no training row."
    for run in runs:
        if 0 < run.rows < run.batch:
            yield "wrong", f"asks for {run.batch} rows of bucket {run.bucket} a step; there are {run.rows:,}."
        elif run.seen > SEEN:
            yield "look", f"shows each row of bucket {run.bucket} {run.seen:,.0f} times: few rows for so many steps."
    ragged = [run.bucket for run in runs if not run.whole]
    if ragged:
        yield "wrong", f"has patches into which {findings.listed(ragged)} cannot be divided."
