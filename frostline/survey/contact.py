"""Contact sheets: what rows of each bucket look like, and which part of their frames is taken."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from frostline.manifest import Row
from frostline.pages import words
from frostline.pages.words import Bucket
from frostline.survey import material
from frostline.survey.distributions import kept
from frostline.survey.material import Source
from frostline.survey.sheets import Picture

CELLS = 24  # of a bucket, at most
FIRST = 8  # of them that are seen at once; half as many of clips
CAPTIONS = 5  # of a row, at most
LONG = 160  # characters from which a caption is shortened
COARSE = 100  # pixels of a tile's longer side, below which it is drawn with hard edges


class Shown(NamedTuple):
    """A thumbnail in SVG: its tiles, and on each the crop."""

    href: str
    width: int
    height: int
    shade: str  # path of what is cut away
    crops: list[tuple[str, str, str, str]]  # x, y, width, height
    coarse: bool


class Cell(NamedTuple):
    """One row."""

    source: str
    split: str
    locator: str
    shown: Shown
    facts: str
    badges: list[str]
    caption: str  # the first, shortened
    captions: list[str]  # what it does not say: all of it, and the others


class ContactSheet(NamedTuple):
    """Rows of one bucket."""

    bucket: str
    title: str
    note: str
    wide: bool  # cells of several tiles
    first: list[Cell]
    rest: list[Cell]


def sheets(sources: Sequence[Source]) -> list[ContactSheet]:
    """A sheet per bucket, its sources in turn."""
    examples: dict[Bucket, dict[str, list[Cell]]] = {}
    for source in sources:
        rows = {row.id: row for row in source.rows}
        for example in source.sheet.rows:
            if example.id in rows:
                row = rows[example.id]
                cells = examples.setdefault(row.bucket, {}).setdefault(source.name, [])
                cells.append(_cell(row, example.picture))
    totals = {bucket: sum(map(len, by_source.values())) for bucket, by_source in material.buckets(sources).items()}
    return [_sheet(bucket, by_source, totals[bucket]) for bucket, by_source in sorted(examples.items())]


def _sheet(bucket: Bucket, by_source: dict[str, list[Cell]], total: int) -> ContactSheet:
    in_turn = chain.from_iterable(zip_longest(*by_source.values()))
    cells = [cell for cell in in_turn if cell is not None][:CELLS]
    note = f"{len(cells)} of {words.things(total, 'row')}. What is taken is framed, what is cut away is darkened."
    wide = any(len(cell.shown.crops) > 1 for cell in cells)
    first = FIRST // 2 if wide else FIRST
    title = words.of_bucket(bucket).capitalize()
    return ContactSheet(words.name(bucket), title, note, wide, cells[:first], cells[first:])


def _cell(row: Row, picture: Picture) -> Cell:
    first, *others = row.captions or ("no caption",)
    told = [first, *others] if len(first) > LONG else others
    if len(told) > CAPTIONS:
        told = [*told[:CAPTIONS], f"… and {len(told) - CAPTIONS} more"]
    short = f"{first[:LONG]}…" if len(first) > LONG else first
    return Cell(row.source, row.split, row.locator, shown(picture, row), _facts(row), _badges(row), short, told)


def shown(picture: Picture, row: Row | None) -> Shown:
    """A thumbnail, with a row's crop if there is one."""
    width, height = picture.tile
    crops = [_crop(row, width, height, tile) for tile in range(picture.tiles)] if row else []
    return Shown(
        href=f"data:image/jpeg;base64,{picture.base64}",
        width=width * picture.tiles,
        height=height,
        shade=_shade(crops, width, height),
        crops=[(f"{x:.1f}", f"{y:.1f}", f"{w:.1f}", f"{h:.1f}") for x, y, w, h in crops],
        coarse=max(picture.tile) < COARSE,
    )


def _crop(row: Row, width: int, height: int, tile: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = row.crop
    across, down = width / row.source_width, height / row.source_height
    return tile * width + left * across, top * down, (right - left) * across, (bottom - top) * down


def _shade(crops: Sequence[tuple[float, float, float, float]], width: int, height: int) -> str:
    """The tiles less the crops, as an even-odd path."""
    return "".join(
        f"M{tile * width} 0h{width}v{height}h-{width}z M{x:.1f} {y:.1f}h{w:.1f}v{h:.1f}h-{w:.1f}z"
        for tile, (x, y, w, h) in enumerate(crops)
    )


def _facts(row: Row) -> str:
    left, top, right, bottom = row.crop
    size = f"{row.source_width} × {row.source_height}"
    cut = "" if kept(row) > 0.999 else f", {right - left} × {bottom - top} at {left}, {top} taken"
    if row.frames == 1:
        return f"{size}{cut}"
    rate = f" of {row.source_fps:.4g} fps" if row.source_fps else ""
    frames = row.shown or range(row.start, row.start + row.frames)
    return f"{size}{cut}; frames {frames[0]} to {frames[-1]} of {row.source_frames}{rate}"


def _badges(row: Row) -> list[str]:
    return ["mirrored"] if row.flip else []
