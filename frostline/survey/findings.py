"""What stands out: the mistakes that cost weeks of training, each looked for and said in a sentence.

Static, tiny, duplicated, uneven; splits that leak or are missing; captions that are cut or all the same; data that no
training uses. What is wrong must be mended before a training; the rest is for a person to judge.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from frostline.manifest import SPLITS, Row
from frostline.pages import words
from frostline.survey import distributions, material
from frostline.survey.captions import Captions
from frostline.survey.forecast import Forecast
from frostline.survey.material import Source

ENLARGED = 1.05  # pixels of the bucket per pixel of the source, from which a row counts as blown up
CUT_AWAY = 0.5  # share of the frame that a crop may lose
REPEATED = 0.2  # share of a clip's frames that may show the frame before them again
SMALL = 0.01  # share of all rows below which a bucket is hardly trained
FEW_ITEMS = 20  # below it, one item is always a large share of the rows
LARGE_ITEM = 0.1  # share of a source's rows that one item may have
LEFT_OUT = 0.1  # share of a source's media
SAME_CAPTION = 0.05  # share of a source's rows that may have one caption
SEEN = 100  # times a training may show one row
NAMED = 3  # examples in a sentence


class Finding(NamedTuple):
    """One thing that stands out."""

    weight: Literal["wrong", "look"]
    subject: str  # one word
    text: str
    place: str  # the part of the page that shows it


def findings(sources: Sequence[Source], captions: Captions, costs: Forecast) -> list[Finding]:
    """What is wrong first, then what a person should look at."""
    found = [finding for look in OF_SOURCE for source in sources for finding in look(source)]
    found += [*_leaks(sources), *_repeated_media(sources), *_uneven(sources), *_same_captions(sources, captions)]
    found += [*_cut_captions(costs), *_trainings(costs, sources)]
    return sorted(found, key=lambda finding: finding.weight != "wrong")


def _static(source: Source) -> Iterator[Finding]:
    clips = [row for row in source.rows if len(row.shown) > 1]
    still = [row for row in clips if _repeats(row) > REPEATED]
    if still:
        yield Finding(
            "look",
            "static",
            f"{_of(still, clips, 'clip row')} of {source.name} show a frame again more often than every "
            f"{round(1 / REPEATED)}th time: their rate lies below the rate asked for ({_names(still)}).",
            "distributions",
        )


def _repeats(row: Row) -> float:
    """Share of a clip's frames that show the frame before them."""
    return sum(a == b for a, b in zip(row.shown, row.shown[1:], strict=False)) / (len(row.shown) - 1)


def _tiny(source: Source) -> Iterator[Finding]:
    small = [row for row in source.rows if distributions.enlargement(row) > ENLARGED]
    if small:
        most = max(map(distributions.enlargement, small))
        yield Finding(
            "look",
            "tiny",
            f"{_of(small, source.rows, 'row')} of {source.name} are smaller than their bucket and blown up, at most "
            f"{most:.2g} times ({_names(small)}); set filters.minimum_side, or smaller buckets.",
            "distributions",
        )


def _cropped(source: Source) -> Iterator[Finding]:
    cut = [row for row in source.rows if distributions.kept(row) < 1 - CUT_AWAY]
    if cut:
        yield Finding(
            "look",
            "cropped",
            f"{_of(cut, source.rows, 'row')} of {source.name} lose more than {CUT_AWAY:.0%} of the frame to the crop "
            f"({_names(cut)}); add a bucket of their shape.",
            "distributions",
        )


def _left_out(source: Source) -> Iterator[Finding]:
    everything = len({row.locator for row in source.everything}) + len(source.rejected)
    if len(source.rejected) > LEFT_OUT * everything:
        reasons = Counter(entry.reason for entry in source.rejected)
        often = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:NAMED]
        said = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in often)
        yield Finding(
            "look",
            "left out",
            f"{words.share(len(source.rejected), everything)} of {source.name} was left out: {said}.",
            "left-out",
        )


def _one_item(source: Source) -> Iterator[Finding]:
    items = Counter(row.item for row in source.rows)
    if len(items) >= FEW_ITEMS:
        name, count = max(sorted(items.items()), key=lambda pair: pair[1])
        if count > LARGE_ITEM * len(source.rows):
            yield Finding(
                "look",
                "uneven",
                f"One item of {source.name}, {name}, gives {words.share(count, len(source.rows))} of its "
                f"{len(source.rows):,} rows; a longer stride or fewer windows would even it out.",
                "counts",
            )


OF_SOURCE: tuple[Callable[[Source], Iterator[Finding]], ...] = (_static, _tiny, _cropped, _one_item, _left_out)


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
            f"{words.things(len(leaking), 'medium').replace('mediums', 'media')} in train and, with the same bytes, in "
            f"a held-out split ({_names(leaking)}): what is measured there is memory. Take one copy out.",
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
            f"({', '.join(_name(row) for row in several[0][:NAMED])} are one).",
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
            text = f"{have.format(_list(without))} no row in {split}."
            yield Finding("wrong" if split == "train" else "look", "splits", text, "counts")
    total = sum(map(len, found.values()))
    for name, rows in found.items():
        if len(rows) < SMALL * total:
            text = f"Bucket {name} has {words.things(len(rows), 'row')}, {words.share(len(rows), total)} of all."
            yield Finding("look", "uneven", text, "counts")


def _same_captions(sources: Sequence[Source], captions: Captions) -> Iterator[Finding]:
    for source in sources:
        counts = Counter(caption for row in source.everything for caption in set(row.captions))
        often = [caption for caption, n in counts.items() if n > max(1, SAME_CAPTION * len(source.everything))]
        if often:
            first = min(often, key=lambda caption: (-counts[caption], caption))
            more = f", and {len(often) - 1} more like it" if len(often) > 1 else ""
            yield Finding(
                "look",
                "captions",
                f"{words.share(counts[first], len(source.everything))} of the rows of {source.name} share the caption "
                f"“{_short(first)}”{more}: a caption that says what is seen teaches more.",
                "captions",
            )
    blank = sum(1 for source in sources for row in source.everything if not any(map(str.strip, row.captions)))
    if blank:
        text = f"{words.things(blank, 'row')} without a caption; set a captioner, or filters.caption_characters."
        yield Finding("wrong", "captions", text, "captions")
    if captions.distinct == 1 and captions.used > 1:
        text = "There is one caption for everything: a model cannot learn words from it."
        yield Finding("wrong", "captions", text, "captions")


def _cut_captions(costs: Forecast) -> Iterator[Finding]:
    for text in costs.texts:
        if text.cut:
            yield Finding(
                "look",
                "captions",
                f"{words.share(text.cut, 1)} of the captions of {text.source} have more than the "
                f"{costs.space.text_length} tokens that a transformer sees; the rest of each is cut off.",
                "captions",
            )


def _trainings(costs: Forecast, sources: Sequence[Source]) -> Iterator[Finding]:
    for run in costs.runs:
        if not run.rows:
            text = f"{run.run} trains on bucket {run.bucket}, which has no training row."
            yield Finding("wrong", "trainings", text, "costs")
        elif run.rows < run.batch:
            text = f"{run.run} asks for {run.batch} rows of bucket {run.bucket} a step; there are {run.rows:,}."
            yield Finding("wrong", "trainings", text, "costs")
        elif run.seen > SEEN:
            text = f"{run.run} shows each row of bucket {run.bucket} {run.seen:,.0f} times: few rows for so many steps."
            yield Finding("look", "trainings", text, "costs")
        if not run.whole:
            text = f"Bucket {run.bucket} does not divide into the patches of {run.run}."
            yield Finding("wrong", "trainings", text, "costs")
    used = {run.bucket for run in costs.runs}
    idle = [name for name in map(words.name, material.buckets(sources)) if name not in used]
    if costs.runs and idle:
        text = f"No training in params uses {_list(idle)}: {'it is' if len(idle) == 1 else 'they are'} cached in vain."
        yield Finding("look", "trainings", text, "costs")


def _of(part: Sequence[Row], whole: Sequence[Row], thing: str) -> str:
    return f"{len(part):,} of {words.things(len(whole), thing)} ({words.share(len(part), len(whole))})"


def _names(rows: Sequence[Row]) -> str:
    """The first few, by name."""
    names = list(dict.fromkeys(_name(row) for row in rows))
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _name(row: Row) -> str:
    return _short(row.locator)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
