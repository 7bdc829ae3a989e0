"""What stands out of one source: static, tiny, cropped, uneven, much left out."""

from collections import Counter
from collections.abc import Callable, Iterator

from frostline.manifest import Row
from frostline.pages import words
from frostline.survey import distributions, findings
from frostline.survey.findings import NAMED, Finding
from frostline.survey.material import Source

ENLARGED = 1.05  # pixels of the bucket per pixel of the source, from which a row counts as blown up
CUT_AWAY = 0.5  # share of the frame that a crop may lose
REPEATED = 0.2  # share of a clip's frames that may show the frame before them again
FEW_ITEMS = 20  # below it, one item is always a large share of the rows
LARGE_ITEM = 0.1  # share of a source's rows that one item may have
LEFT_OUT = 0.1  # share of a source's media
# measure: (subject and reason it is left out for, level below which it counts, what it does, the filter)
MEASURED = {
    "motion": ("static", 0.1, "change by less than {} grey levels from one look to the next", "minimum_motion"),
    "brightness": ("black", 24.0, "have no part brighter than {} grey levels of 255", "minimum_brightness"),
    "sharpness": ("blurred", 1.0, "have a sharpness below {} grey levels", "minimum_sharpness"),
}


def look(source: Source) -> list[Finding]:
    """All of it."""
    return [finding for look_for in LOOKS for finding in look_for(source)]


def _static(source: Source) -> Iterator[Finding]:
    clips = [row for row in source.rows if len(row.shown) > 1]
    still = [row for row in clips if _repeats(row) > REPEATED]
    if still:
        yield Finding(
            "look",
            "static",
            f"{findings.of(still, clips, 'clip row')} of {source.name} show a frame again more often than every "
            f"{round(1 / REPEATED)}th time: their rate lies below the rate asked for ({findings.names(still)}).",
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
            f"{findings.of(small, source.rows, 'row')} of {source.name} are smaller than their bucket and blown up, "
            f"at most {most:.2g} times ({findings.names(small)}); set filters.minimum_side, or smaller buckets.",
            "distributions",
        )


def _cropped(source: Source) -> Iterator[Finding]:
    cut = [row for row in source.rows if distributions.kept(row) < 1 - CUT_AWAY]
    if cut:
        yield Finding(
            "look",
            "cropped",
            f"{findings.of(cut, source.rows, 'row')} of {source.name} lose more than {CUT_AWAY:.0%} of the frame to "
            f"the crop ({findings.names(cut)}); add a bucket of their shape.",
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
                f"One item of {source.name}, {findings.short(name)}, gives {words.share(count, len(source.rows))} of "
                f"its {len(source.rows):,} rows; a longer stride or fewer windows would even it out.",
                "counts",
            )


Look = Callable[[Source], Iterator[Finding]]
LOOKS: tuple[Look, ...] = (_static, _measured, _tiny, _cropped, _one_item, _left_out)
