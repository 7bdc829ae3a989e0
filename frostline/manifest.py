"""The manifest of a source: which windows of which media become training rows, and what was left out and why.

    items.parquet      one row per window, see Row
    rejected.parquet   one row per thing left out, see Rejected
    manifest.json      counts by split, bucket and reason; the digests of both tables

Equal rows give equal bytes: no times, no absolute paths, locators relative to the source's path.
"""

import collections
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from frostline import digests, files
from frostline.errors import Refused, WrongUse

ITEMS, REJECTED, SUMMARY = "items.parquet", "rejected.parquet", "manifest.json"
SPLITS = ("train", "validation", "test")
REMEDY = "make it again with `dvc repro`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One window of one item, as it will be encoded."""

    id: str  # digest of source, item, content and window: unique in a manifest
    source: str  # name in params
    item: str  # the source item; all its rows are in one split
    split: str  # train, validation or test
    locator: str  # the medium's name, unique in the source, e.g. cats/1.png or shard-000.tar/00012.jpg
    medium: str  # image, clip or frames (a folder of them); drawn; prompt
    file: str  # where its bytes are, relative to the source's path (or absolute); "" where there are none
    offset: int  # of its bytes in that file
    size: int  # of them, 0 where they are not in one piece
    content: str  # digest of the media's bytes
    start: int  # first source frame
    shown: tuple[int, ...]  # source frame seen in each frame of a clip; () of an image and of what is drawn
    pts: tuple[int, ...]  # when each of them is shown, in units of time_base; () unless a clip
    time_base: tuple[int, int]  # seconds, as a fraction; (0, 1) unless a clip
    flip: bool  # mirrored, left to right
    frames: int  # of the bucket, 4n + 1
    height: int  # of the bucket
    width: int  # of the bucket
    source_width: int  # upright
    source_height: int
    source_frames: int
    source_fps: float  # 0.0 where the media name none
    crop: tuple[int, int, int, int]  # left, top, right, bottom in source pixels
    captions: tuple[str, ...]  # one of them is drawn by weight
    weights: tuple[float, ...]  # one per caption; equal ones are equally likely
    attributes: str  # JSON object, e.g. {"label":7,"motion":"left"}

    @property
    def bucket(self) -> tuple[int, int, int]:
        """(frames, height, width)."""
        return self.frames, self.height, self.width

    @property
    def alteration(self) -> list[Any]:
        """What start, bucket and crop do not say of the pixels; [] where frames follow each other, unmirrored."""
        return alteration(self.start, self.shown, flip=self.flip)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """One thing that was left out."""

    source: str
    locator: str
    reason: str  # one word, counted in manifest.json
    detail: str  # what a person needs to mend it


def _required(of: pa.DataType) -> pa.Field:
    return pa.field("element", of, nullable=False)


_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    tuple[int, int]: pa.list_(_required(pa.int64()), 2),
    tuple[int, int, int, int]: pa.list_(_required(pa.int64()), 4),
    tuple[int, ...]: pa.list_(_required(pa.int64())),
    tuple[float, ...]: pa.list_(_required(pa.float64())),
    tuple[str, ...]: pa.list_(_required(pa.string())),
}
R = TypeVar("R", Row, Rejected)


def identity(
    source: str,
    locator: str,
    content: str,
    start: int,
    bucket: tuple[int, int, int],
    crop: tuple[int, int, int, int],
    altered: Sequence[Any] = (),
) -> str:
    """The id of a row: a digest of which pixels it is, and from where; ``altered`` is its alteration."""
    return digests.of_json([source, locator, content, start, *bucket, *crop, *altered])


def alteration(start: int, shown: Sequence[int], *, flip: bool) -> list[Any]:
    """What a row shows otherwise than the frames from ``start`` on as they are: part of its id and of its latent's."""
    consecutive = list(shown) == list(range(start, start + len(shown)))
    return [*([] if consecutive else ["shown", list(shown)]), *(["flip"] if flip else [])]


def write(folder: str | Path, rows: Sequence[Row], rejected: Sequence[Rejected]) -> dict[str, Any]:
    """Write a manifest, whole or not at all, and return what manifest.json holds; raises WrongUse on duplicate ids."""
    _require_unique(rows)
    with files.new_folder(folder) as beside:
        _write_table(beside / ITEMS, Row, rows)
        _write_table(beside / REJECTED, Rejected, rejected)
        summary = summarise(rows, rejected)
        summary["digests"] = {name: digests.of_file(beside / name) for name in (ITEMS, REJECTED)}
        files.write_json(beside / SUMMARY, summary)
    return summary


def read(folder: str | Path) -> list[Row]:
    """The rows of a manifest in their order; raises Refused if a table is not the one that was written."""
    return [_row(values) for values in _read_table(Path(folder), ITEMS)]


def read_rejected(folder: str | Path) -> list[Rejected]:
    """What was left out; raises Refused if the table is not the one that was written."""
    return [Rejected(**row) for row in _read_table(Path(folder), REJECTED)]


def _row(values: dict[str, Any]) -> Row:
    return Row(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def summarise(rows: Sequence[Row], rejected: Sequence[Rejected]) -> dict[str, Any]:
    """Counts of rows by split and by bucket (named ``5x32x32``), of items, and of reasons."""
    buckets: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = buckets.setdefault("x".join(map(str, row.bucket)), dict.fromkeys(SPLITS, 0))
        counts[row.split] += 1
    return {
        "items": len({row.item for row in rows}),
        "rows": len(rows),
        "splits": {split: sum(counts[split] for counts in buckets.values()) for split in SPLITS},
        "buckets": buckets,
        "rejected": dict(collections.Counter(entry.reason for entry in rejected)),
    }


def _require_unique(rows: Sequence[Row]) -> None:
    repeated = [row for row, count in collections.Counter(row.id for row in rows).items() if count > 1]
    if repeated:
        twice = [row.locator for row in rows if row.id == repeated[0]]
        raise WrongUse(
            f"{len(repeated)} row(s) occur more than once, the first at {', '.join(twice)}; name each item once"
        )


def _schema(cls: type[Row | Rejected]) -> pa.Schema:
    return pa.schema([pa.field(field.name, _TYPES[field.type], nullable=False) for field in dataclasses.fields(cls)])


def _write_table(path: Path, cls: type[R], rows: Sequence[R]) -> None:
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in dataclasses.fields(cls)}
    pq.write_table(pa.table(columns, schema=_schema(cls)), path, compression="zstd")


def _read_table(folder: Path, name: str) -> list[dict[str, Any]]:
    wanted = files.read_json(folder / SUMMARY)["digests"][name]
    if not (folder / name).is_file() or digests.of_file(folder / name) != wanted:
        raise Refused(f"{folder / name}: missing, or not the table that {SUMMARY} was written with; {REMEDY}")
    return pq.read_table(folder / name).to_pylist()
