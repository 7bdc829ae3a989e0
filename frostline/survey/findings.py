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
from frostline.survey.forecast import Forecast, RunCost
from frostline.survey.material import Source

ENLARGED = 1.05  # pixels of the bucket per pixel of the source, from which a row counts as blown up
CUT_AWAY = 0.5  # share of the frame that a crop may lose
REPEATED = 0.2  # share of a clip's frames that may show the frame before them again
SMALL = 0.01  # share of all rows below which a bucket is hardly trained
FEW_ITEMS = 20  # below it, one item is always a large share of the rows
LARGE_ITEM = 0.1  # share of a source's rows that one item may have
LEFT_OUT = 0.1  # share of a source's media
SAME_CAPTION = 0.1  # share of a source's rows that may have one caption
SEEN = 100  # times a training may show one row
NAMED = 3  # examples in a sentence
# measure: (subject and reason it is left out for, level below which it counts, what it does, the filter)
MEASURED = {
    "motion": ("static", 0.1, "change by less than {} grey levels a frame", "minimum_motion"),
    "brightness": ("black", 24.0, "have no part brighter than {} grey levels of 255", "minimum_brightness"),
    "sharpness": ("blurred", 1.0, "have a sharpness below {} grey levels", "minimum_sharpness"),
}


Weight = Literal["wrong", "look"]


class Finding(NamedTuple):
    """One thing that stands out."""

    weight: Weight
    subject: str  # one word
    text: str
    place: str  # the part of the page that shows it


class Group(NamedTuple):
    """Findings of one subject and weight."""

    weight: Weight
    subject: str
    place: str
    texts: list[str]


def groups(found: Sequence[Finding]) -> list[Group]:
    """Findings with their like, in the order of the first of each."""
    by_kind: dict[tuple[Weight, str], Group] = {}
    for one in found:
        empty = Group(one.weight, one.subject, one.place, [])
        by_kind.setdefault((one.weight, one.subject), empty).texts.append(one.text)
    return list(by_kind.values())


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


def _measured(source: Source) -> Iterator[Finding]:
    """Media that are still, dark or blurred and were not left out for it."""
    measured = [name for name in MEASURED if name in source.sheet.histograms]  # nobody measures drawings
    for name in measured:
        subject, level, what, remedy = MEASURED[name]
        histogram = source.sheet.histograms[name]
        below = sum(count for value, count in histogram if value < level)
        kept = below - sum(entry.reason == subject for entry in source.rejected)
        if kept > 0:
            total = sum(count for _, count in histogram)
            said = f"{kept:,} of {words.things(total, 'medium', 'media')} of {source.name}"
            text = f"{said} {what.format(f'{level:g}')}; look at them, and set filters.{remedy}."
            yield Finding("look", subject, text, "distributions")


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
    gone = {entry.locator for entry in source.rejected}
    everything = len(gone | {row.locator for row in source.everything})
    if len(gone) > LEFT_OUT * everything:
        reasons = Counter(entry.reason for entry in source.rejected)
        often = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:NAMED]
        said = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in often)
        yield Finding(
            "look",
            "left out",
            f"{words.share(len(gone), everything)} of {source.name} was left out: {said}.",
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


OF_SOURCE: tuple[Callable[[Source], Iterator[Finding]], ...] = (
    _static,
    _measured,
    _tiny,
    _cropped,
    _one_item,
    _left_out,
)


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
    small = [f"{name} ({words.things(len(rows), 'row')})" for name, rows in found.items() if len(rows) < SMALL * total]
    if small:
        yield Finding("look", "uneven", f"Less than {SMALL:.0%} of all rows lie in {_list(small)}.", "counts")


def _same_captions(sources: Sequence[Source], captions: Captions) -> Iterator[Finding]:
    shared = [said for source in sources for said in _shared(source)]
    if shared:
        text = f"Many rows share one caption: {_list(shared)}. A caption that says what is seen teaches more."
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
            yield f"“{_short(first)}” {words.share(counts[first], len(source.everything))} of {source.name}"


def _cut_captions(costs: Forecast) -> Iterator[Finding]:
    cut = [f"{words.share(text.cut, 1)} of {text.source}" for text in costs.texts if text.cut]
    if cut:
        limit = f"the {costs.space.text_length} tokens that a transformer sees"
        text = f"Captions longer than {limit}: {_list(cut)}. What is longer is cut off."
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
        text = f"No training in params uses {_list(idle)}: {'it is' if len(idle) == 1 else 'they are'} cached in vain."
        yield Finding("look", "trainings", text, "costs")


def _training(runs: Sequence[RunCost]) -> Iterator[tuple[Weight, str]]:
    """What is wrong with the buckets of one training, as the rest of a sentence that begins with its name."""
    absent = [run.bucket for run in runs if not run.rows]
    if absent:
        yield "wrong", f"trains on {_list(absent)}, of which there is no training row."
    for run in runs:
        if 0 < run.rows < run.batch:
            yield "wrong", f"asks for {run.batch} rows of bucket {run.bucket} a step; there are {run.rows:,}."
        elif run.seen > SEEN:
            yield "look", f"shows each row of bucket {run.bucket} {run.seen:,.0f} times: few rows for so many steps."
    ragged = [run.bucket for run in runs if not run.whole]
    if ragged:
        yield "wrong", f"has patches into which {_list(ragged)} cannot be divided."


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
    """A foreign text for a sentence, on one line."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
