"""How media and rows spread: durations, sizes, frame rates, shapes, enlargement, captions, and what was measured."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import markupsafe

from frostline.manifest import Row
from frostline.pages import axes, bars
from frostline.pages.parts import Drawing
from frostline.survey.captions import Captions
from frostline.survey.forecast import Forecast
from frostline.survey.material import Source


class Spread(NamedTuple):
    """Charts of what differs, and sentences of what is the same everywhere."""

    charts: list[Drawing]
    same: list[str]


class _Asked(NamedTuple):
    title: str
    note: str
    x: str
    value: Callable[[Row], float | None]  # None: a row that has none


def seconds(row: Row) -> float | None:
    """How long a medium is; None of images and where it names no rate."""
    return row.source_frames / row.source_fps if row.medium != "image" and row.source_fps else None


def enlargement(row: Row) -> float:
    """Pixels of the bucket per pixel of the source: above 1 a row is blown up."""
    left, _, right, _ = row.crop
    return row.width / (right - left)


def kept(row: Row) -> float:
    """Share of a frame that is inside the crop."""
    left, top, right, bottom = row.crop
    return (right - left) * (bottom - top) / (row.source_width * row.source_height)


def _rate(row: Row) -> float | None:
    return round(row.source_fps, 2) if row.medium != "image" and row.source_fps else None


def _shape(row: Row) -> float:
    return round(row.source_width / row.source_height, 2)


OF_MEDIA = (
    _Asked("Durations", "Of whole clips, before they are cut into windows.", "seconds", seconds),
    _Asked(
        "Sizes",
        "Shorter side of each medium, upright.",
        "pixels",
        lambda row: float(min(row.source_width, row.source_height)),
    ),
    _Asked("Shapes", "Width over height: below 1 is portrait.", "width / height", _shape),
    _Asked("Frame rates", "Of clips that name one.", "frames per second", _rate),
)
OF_ROWS = (
    _Asked(
        "Enlargement",
        "Pixels of the bucket per pixel of the source. Above 1, a model learns from pixels that were made up.",
        "bucket / source",
        lambda row: round(enlargement(row), 3),
    ),
    _Asked(
        "Inside the crop",
        "How much of the frame a model sees.",
        "% of the frame",
        lambda row: round(100 * kept(row), 1),
    ),
)
# histogram of a sheet: (title, note, unit)
MEASURED = {
    "motion": ("Motion", "Mean change from one look to the next; what lies near 0 stands still.", "grey levels"),
    "sharpness": ("Sharpness", "Deviation of the Laplacian; what lies near 0 is blurred or flat.", "grey levels"),
    "brightness": ("Brightness", "Of the brightest part; what lies near 0 is black.", "grey levels of 255"),
}


def of_media(sources: Sequence[Source]) -> Spread:
    """Media and rows."""
    found = [(asked, {one.name: _values(asked, one.media) for one in sources}) for asked in OF_MEDIA]
    found += [(asked, {one.name: _values(asked, one.rows) for one in sources}) for asked in OF_ROWS]
    for name, (title, note, x) in MEASURED.items():
        by_source = {one.name: _measured(one, name) for one in sources}
        found.append((_Asked(title, note, x, lambda _: None), by_source))
    return _spread(found)


def of_captions(captions: Captions, costs: Forecast) -> Spread:
    """Captions, in words and in tokens."""
    in_words = _Asked("Length in words", "Of distinct captions.", "words", lambda _: None)
    limit = f"A transformer sees {costs.space.text_length}; what is longer is cut off."
    in_tokens = _Asked("Length in tokens", f"Of distinct captions. {limit}", "tokens", lambda _: None)
    return _spread(
        [
            (in_words, {name: [float(n) for n in lengths] for name, lengths in captions.lengths.items()}),
            (in_tokens, {text.source: [float(n) for n in text.lengths] for text in costs.texts}),
        ]
    )


def _values(asked: _Asked, rows: Iterable[Row]) -> list[float]:
    return [value for value in map(asked.value, rows) if value is not None]


def _measured(source: Source, name: str) -> list[float]:
    """The values of a sheet's histogram, if there is one of that name: what is drawn was never measured."""
    if name not in source.sheet.histograms:
        return []
    return [value for value, count in source.sheet.histograms[name] for _ in range(count)]


def _spread(found: Iterable[tuple[_Asked, dict[str, list[float]]]]) -> Spread:
    charts: list[Drawing] = []
    same: list[str] = []
    for asked, values in found:
        distinct = {value for group in values.values() for value in group}
        if len(distinct) > 1:
            charts.append(_drawing(asked, values))
        elif distinct:
            same.append(f"{asked.title}: the same everywhere, {axes.label(distinct.pop())} {asked.x}.")
    return Spread(charts, same)


def _drawing(asked: _Asked, values: dict[str, list[float]]) -> Drawing:
    drawn = bars.histogram(asked.title, asked.note, asked.x, values)
    return Drawing(asked.title, asked.note, markupsafe.Markup(bars.svg(drawn)), drawn.legend)  # noqa: S704 (bars escapes)
