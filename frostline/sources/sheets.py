"""Examples of a source for its page, so that the page needs no media.

    sheets.json   see below; what else is known of a row stands in the manifest
    *.jpg         thumbnails of whole upright frames, at most 256 pixels a side; of a clip its first, middle and last
                  frame side by side

``sheets.json``::

    {
      "source": "cats",
      "histograms": {                                   # of all media that could be decoded, those left out too
        "brightness": [[value, media], ...],            # in rising order; two digits count (see Measures)
        "sharpness": [...], "motion": [...]             # motion: of clips
      },
      "rows": [                                         # up to 24 a bucket, those with the smallest ids
        {"id": "...", "locator": "a.mp4", "split": "train", "bucket": [5, 32, 32],
         "picture": "1a2b.jpg" | null,                  # null: it cannot be read any more, or there is none (prompts)
         "tile": [256, 144], "tiles": 3,                # size of each thumbnail in the picture, and how many
         "frames": [0, 4, 8],                           # source frame in each tile
         "crop": [280, 0, 1000, 720], "flip": false,    # what is taken, in pixels of the source
         "captions": ["..."]}
      ],
      "rejected": [                                     # up to 6 a reason
        {"locator": "b.jpg", "reason": "blurred", "detail": "...",
         "picture": "3c4d.jpg" | null, "tile": [256, 144], "tiles": 1}
      ]
    }
"""

import collections
import heapq
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frostline import digests, files, media
from frostline.manifest import Columns, Rejected, Row
from frostline.params.sources import AnyMediaParams, DigitsParams, PromptsParams, SourceParams, WorldParams
from frostline.sources import embedded, listing
from frostline.sources.seen import Seen

FILE = "sheets.json"
ROWS, REJECTED = 24, 6  # of a bucket, of a reason
SIDE = 256
TINY = 1e-9
NEARLY_HALF = 0.499  # from here on the last digit may be either, as powers of ten are not exact
SHIFT = 1024  # keeps two digits and their power apart
REVISION = 1  # raise when a thumbnail of the same frames changes


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Frames to be made a picture of."""

    medium: str
    file: str
    offset: int
    size: int
    frames: tuple[int, ...]
    pts: tuple[int, ...]


class Sheets:
    """Sees what passes by, keeps the examples and the measures."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int, int], list[Row]] = {}
        self._measures: dict[str, dict[float, int]] = {}

    def look(self, seen: Columns[Seen]) -> None:
        """Count what media show."""
        moves = np.array([medium != "image" for medium in seen.values("medium")], bool)
        for name in ("brightness", "sharpness", "motion"):
            values = np.array(seen.values(name), float)
            self._measures[name] = _counted(values[moves] if name == "motion" else values)

    def over(self, rows: Iterable[Columns[Row]]) -> Iterator[Columns[Row]]:
        """The rows; of each bucket those with the smallest ids are kept."""
        for part in rows:
            lasts = {bucket: kept[-1].id for bucket, kept in self._rows.items() if len(kept) == ROWS}
            small: dict[tuple[int, int, int], list[tuple[str, int]]] = {}
            ids, buckets = part.values("id"), zip(*map(part.values, ("frames", "height", "width")), strict=True)
            for place, (name, bucket) in enumerate(zip(ids, buckets, strict=True)):
                if name < lasts.get(bucket, name + "."):
                    small.setdefault(bucket, []).append((name, place))
            for bucket, found in small.items():
                kept = self._rows.get(bucket, []) + part.records([place for _, place in heapq.nsmallest(ROWS, found)])
                self._rows[bucket] = sorted(kept, key=operator.attrgetter("id"))[:ROWS]
            yield part

    def write(self, folder: Path, source: str, params: SourceParams, rejected: Sequence[Rejected], made: Path) -> None:
        """Write the sheet, whole or not at all; thumbnails that were made before are taken from ``made``."""
        with files.new_folder(folder) as beside:
            pictures = _Pictures(params, beside, made)
            rows = [row for _, kept in sorted(self._rows.items()) for row in kept]
            sheet = {
                "source": source,
                "histograms": {name: sorted(counts.items()) for name, counts in self._measures.items() if counts},
                "rows": [_example(row, pictures) for row in rows],
                "rejected": [_left_out(entry, pictures) for entry in _some(rejected)],
            }
            files.write_json(beside / FILE, sheet)
            pictures.forget_others()


class _Pictures:
    """Thumbnails of one source: made once, kept in a folder of work, copied into the sheet."""

    def __init__(self, params: SourceParams, folder: Path, made: Path) -> None:
        self._params, self._folder, self._made = params, folder, made
        self._used: set[str] = set()

    def of(self, key: Sequence[Any], shown: Shown | Row) -> dict[str, Any]:
        """Where the thumbnail of some frames is, and how it is laid out; ``key`` says what they are."""
        name = f"{digests.of_json([REVISION, SIDE, *key])}.jpg"
        facts = self._made / f"{name}.json"
        if not facts.is_file():
            tiles = self._tiles(shown)
            if tiles is None:
                return {"picture": None, "tile": [0, 0], "tiles": 0}
            files.write_bytes(self._made / name, media.jpeg(np.concatenate(list(tiles), axis=1)))
            files.write_json(facts, {"tile": [tiles.shape[2], tiles.shape[1]], "tiles": len(tiles)})
        self._used |= {name, facts.name}
        (self._folder / name).write_bytes((self._made / name).read_bytes())
        return {"picture": name, **files.read_json(facts)}

    def forget_others(self) -> None:
        """Remove thumbnails that are no longer examples."""
        for file in self._made.iterdir() if self._made.is_dir() else ():
            if file.name not in self._used:
                file.unlink()

    def _tiles(self, shown: Shown | Row) -> np.ndarray | None:
        try:
            pixels = self._pixels(shown)
        except media.Unusable:
            return None
        height, width = pixels.shape[1:3]
        share = min(1.0, SIDE / max(height, width))
        small = max(1, round(height * share)), max(1, round(width * share))
        return media.resize(pixels, (0, 0, width, height), *small)

    def _pixels(self, shown: Shown | Row) -> np.ndarray:
        params = self._params
        if isinstance(shown, Row):
            if not isinstance(params, DigitsParams | WorldParams):
                raise media.Unusable("no_picture", f"{shown.locator}: there is nothing to be seen")
            return embedded.pixels(params, shown)[list(_ends(shown.frames))]
        if isinstance(params, DigitsParams | WorldParams | PromptsParams):
            raise media.Unusable("no_picture", f"{shown.file}: there is nothing to be seen")
        return _read(params, shown)


def _read(params: AnyMediaParams, shown: Shown) -> np.ndarray:
    blobs = listing.blobs(params, shown.file, shown.offset, shown.size)
    if shown.medium == "image":
        return media.read(blobs, "image", (0,), (), params.max_pixels)
    if shown.medium == "frames":
        return media.read(blobs, "frames", shown.frames, (), params.max_pixels)
    return media.read(blobs, "clip", shown.frames, shown.pts, params.max_pixels)


def _example(row: Row, pictures: _Pictures) -> dict[str, Any]:
    chosen = list(_ends(len(row.shown) or row.frames))
    frames = [row.shown[number] for number in chosen] if row.shown else chosen
    pts = [row.pts[number] for number in chosen] if row.pts else []
    if row.medium in ("drawn", "prompt"):
        picture = pictures.of([row.content, chosen], row)
    else:
        shown = Shown(
            medium=row.medium, file=row.file, offset=row.offset, size=row.size, frames=tuple(frames), pts=tuple(pts)
        )
        picture = pictures.of([row.content, frames], shown)
    return {
        "id": row.id,
        "locator": row.locator,
        "split": row.split,
        "bucket": row.bucket,
        **picture,
        "frames": frames,
        "crop": row.crop,
        "flip": row.flip,
        "captions": row.captions,
    }


def _left_out(entry: Rejected, pictures: _Pictures) -> dict[str, Any]:
    """Of a clip the first frame alone: nothing says how many it has."""
    shown = Shown(medium=entry.medium, file=entry.file, offset=entry.offset, size=entry.size, frames=(0,), pts=(0,))
    nothing = {"picture": None, "tile": [0, 0], "tiles": 0}
    picture = pictures.of([entry.content, [0]], shown) if entry.medium else nothing
    return {"locator": entry.locator, "reason": entry.reason, "detail": entry.detail, **picture}


def _some(rejected: Sequence[Rejected]) -> list[Rejected]:
    """Up to REJECTED of each reason, chosen by digest, in the order of reasons and names."""
    by_reason: dict[str, list[Rejected]] = {}
    for entry in rejected:
        by_reason.setdefault(entry.reason, []).append(entry)
    chosen = [
        entry
        for entries in by_reason.values()
        for entry in heapq.nsmallest(REJECTED, entries, key=lambda entry: digests.of_json(entry.locator))
    ]
    return sorted(chosen, key=lambda entry: (entry.reason, entry.locator, entry.detail))


def _ends(frames: int) -> tuple[int, ...]:
    """First, middle and last of so many frames."""
    return tuple(sorted({0, frames // 2, frames - 1})) if frames else ()


def _counted(values: np.ndarray) -> dict[float, int]:
    """How often each value comes, to two digits: as ``_rounded`` has it, for many at once."""
    power = np.floor(np.log10(np.maximum(np.abs(values), TINY))) - 1
    digits = values / 10**power
    whole = np.rint(digits)
    clear = (np.abs(values) > TINY) & (np.abs(digits - whole) < NEARLY_HALF)
    found = collections.Counter(map(_rounded, values[~clear].tolist()))
    both, counts = np.unique(SHIFT * power[clear] + whole[clear], return_counts=True)
    for one, count in zip(both.tolist(), counts.tolist(), strict=True):
        exponent = round(one / SHIFT)
        found[float(f"{one - SHIFT * exponent:.0f}e{exponent}")] += count
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
