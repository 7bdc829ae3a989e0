"""The contact sheet of a source, as frostline/sources/sheets.py wrote it: what the page shows of single media."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline import files
from frostline.errors import Refused, WrongUse

FILE = "sheets.json"
REMEDY = "make it again with `dvc repro`"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A thumbnail ready for a data URI: tiles side by side, one per frame shown."""

    base64: str
    tile: tuple[int, int]  # width and height of one tile in pixels
    tiles: int


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row with its thumbnail; what else is known of it stands in the manifest."""

    id: str
    picture: Picture


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One thing that was left out, with its thumbnail if it could be opened."""

    locator: str
    reason: str
    detail: str
    picture: Picture | None


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The examples of one source."""

    rows: list[Example]  # captions alone have no thumbnail and are not here
    rejected: list[LeftOut]
    histograms: dict[str, list[tuple[float, int]]]  # of numbers: (value, how many)


def read(folder: Path) -> Sheet:
    """A contact sheet; raises WrongUse if it is absent or of another shape, Refused if a thumbnail is missing."""
    values = files.read_json(folder / FILE)
    try:
        return Sheet(
            rows=[Example(id=row["id"], picture=_picture(folder, row)) for row in values["rows"] if row["picture"]],
            rejected=[_left_out(folder, entry) for entry in values["rejected"]],
            histograms={name: _numbers(pairs) for name, pairs in values["histograms"].items() if _numeric(pairs)},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WrongUse(f"{folder / FILE}: not the sheet of a source ({error!r}); {REMEDY}") from None


def _left_out(folder: Path, entry: dict[str, Any]) -> LeftOut:
    picture = _picture(folder, entry) if entry["picture"] else None
    return LeftOut(locator=entry["locator"], reason=entry["reason"], detail=entry["detail"], picture=picture)


def _picture(folder: Path, entry: dict[str, Any]) -> Picture:
    name, (width, height) = entry["picture"], entry["tile"]
    if Path(name).name != name or not (folder / name).is_file():
        raise Refused(f"{folder / FILE}: names the thumbnail {name!r}, which is not beside it; {REMEDY}")
    data = base64.b64encode((folder / name).read_bytes()).decode()
    return Picture(base64=data, tile=(int(width), int(height)), tiles=int(entry["tiles"]))


def _numeric(pairs: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value, _ in pairs)


def _numbers(pairs: list[Any]) -> list[tuple[float, int]]:
    return [(float(value), int(count)) for value, count in pairs]
