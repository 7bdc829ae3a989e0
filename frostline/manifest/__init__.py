"""The manifest of a source: which windows of which media become training rows, and what was left out and why.

    items.parquet      one row per window, see Row
    rejected.parquet   one row per thing left out, see Rejected
    manifest.json      counts by split, bucket and reason; the digests of both tables

Equal rows give equal bytes: no times, no absolute paths, locators relative to the source's path.
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq

from frostline import digests, files
from frostline.errors import Refused, WrongUse
from frostline.manifest.columns import Columns, R, in_columns, keeping, kept, schema_of, without_pandas

__all__ = [
    "SPLITS",
    "Columns",
    "Counts",
    "Rejected",
    "Require",
    "Row",
    "Rows",
    "Stored",
    "alteration",
    "bucket_name",
    "identity",
    "in_columns",
    "keeping",
    "kept",
    "read",
    "read_columns",
    "read_rejected",
    "stored",
    "summarise",
    "without_file",
    "without_pandas",
    "write",
    "write_columns",
]

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
    reason: str  # one word, counted in manifest.json; media that lost only a part may have rows all the same
    detail: str  # what a person needs to mend it
    medium: str = ""  # this and what follows as in Row, where it could be decoded; else nothing
    content: str = ""
    file: str = ""
    offset: int = 0
    size: int = 0


Require = Callable[[dict[str, Any]], None]


class Rows(Protocol):
    """Rows in columns, which may be passed through again and again: Columns in memory, or Stored in a manifest."""

    def __len__(self) -> int: ...

    def parts(self, names: Sequence[str] | None = None) -> Iterator[Columns[Row]]:
        """All rows, some thousands at a time, or some columns of them."""
        ...


class Stored:
    """The rows of a manifest where they lie: some thousands are in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = pq.read_metadata(path).num_rows

    def __len__(self) -> int:
        return self._rows

    def parts(self, names: Sequence[str] | None = None) -> Iterator[Columns[Row]]:
        """All rows in the manifest's order, AT_ONCE a part, or some columns of them."""
        with pq.ParquetFile(self._path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=names and list(names), use_threads=False)
                yield from Columns(Row, table).parts()


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


def without_file(
    source: str,
    *,
    item: str,
    split: str,
    locator: str,
    medium: str,
    content: str,
    bucket: tuple[int, int, int],
    captions: tuple[str, ...],
    attributes: str,
) -> Row:
    """The row of what lies in no file and is taken as it is: something drawn, or a prompt; captions of equal weight."""
    frames, height, width = bucket
    crop = (0, 0, width, height)
    return Row(
        id=identity(source, locator, content, 0, bucket, crop),
        source=source,
        item=item,
        split=split,
        locator=locator,
        medium=medium,
        file="",
        offset=0,
        size=0,
        content=content,
        start=0,
        shown=(),
        pts=(),
        time_base=(0, 1),
        flip=False,
        frames=frames,
        height=height,
        width=width,
        source_width=width,
        source_height=height,
        source_frames=frames,
        source_fps=0.0,
        crop=crop,
        captions=captions,
        weights=(1.0,) * len(captions),
        attributes=attributes,
    )


def write(
    folder: str | Path, rows: Iterable[Row], rejected: Sequence[Rejected], require: Require = lambda _: None
) -> dict[str, Any]:
    """Write a manifest, whole or not at all, and return what manifest.json holds.

    ``rows`` may be a stream: some thousands are held at a time. ``require`` sees the summary before the manifest takes
    the place of the one before, and raises if it should not. Raises WrongUse on duplicate ids.
    """
    return write_columns(folder, in_columns(Row, rows), rejected, require)


def write_columns(
    folder: str | Path,
    rows: Iterable[Columns[Row]],
    rejected: Sequence[Rejected],
    require: Require = lambda _: None,
) -> dict[str, Any]:
    """As ``write``, of rows in columns: AT_ONCE of them a part, but for the last."""
    counts = Counts()
    with files.new_folder(folder) as beside:
        _write_table(beside / ITEMS, Row, counts.over(rows))
        _write_table(beside / REJECTED, Rejected, in_columns(Rejected, rejected))
        summary = counts.summary(rejected)
        require(summary)
        summary["digests"] = {name: digests.of_file(beside / name) for name in (ITEMS, REJECTED)}
        files.write_json(beside / SUMMARY, summary)
    return summary


def read(folder: str | Path) -> list[Row]:
    """The rows of a manifest in their order; raises Refused if a table is not the one that was written."""
    return _read_table(Path(folder), Row, ITEMS)


def read_columns(folder: str | Path) -> Columns[Row]:
    """The rows of a manifest in columns; raises Refused if a table is not the one that was written."""
    return _read_columns(Path(folder), Row, ITEMS)


def stored(folder: str | Path) -> Stored:
    """The rows of a manifest, to be read as they are asked for; raises Refused if the table is not what was written."""
    _require(Path(folder), ITEMS)
    return Stored(Path(folder) / ITEMS)


def read_rejected(folder: str | Path) -> list[Rejected]:
    """What was left out; raises Refused if the table is not the one that was written."""
    return _read_table(Path(folder), Rejected, REJECTED)


def summarise(rows: Iterable[Row], rejected: Sequence[Rejected]) -> dict[str, Any]:
    """What manifest.json says of these, but for its digests."""
    counts = Counts()
    collections.deque(counts.over(in_columns(Row, rows)), maxlen=0)
    return counts.summary(rejected)


class Counts:
    """Counts rows as they pass, by split and by bucket (named ``5x32x32``)."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[int, int, int], dict[str, int]] = {}
        self._ids: list[np.ndarray] = [np.zeros(0, "S")]
        self._locators: list[str] = []
        self._items: set[str] = set()

    def over(self, rows: Iterable[Columns[Row]]) -> Iterator[Columns[Row]]:
        """The rows, counted."""
        for part in rows:
            self._add(part)
            yield part

    def summary(self, rejected: Sequence[Rejected]) -> dict[str, Any]:
        """``media`` gave rows, ``left_out`` gave none; the reasons count all that went.

        Raises WrongUse where an id came twice.
        """
        self._require_distinct()
        media = set(self._locators)
        return {
            "items": len(self._items),
            "media": len(media),
            "left_out": len({entry.locator for entry in rejected} - media),
            "rows": len(self._locators),
            "splits": {split: sum(counts[split] for counts in self._buckets.values()) for split in SPLITS},
            "buckets": {bucket_name(bucket): counts for bucket, counts in self._buckets.items()},
            "rejected": dict(collections.Counter(entry.reason for entry in rejected)),
        }

    def _add(self, rows: Columns[Row]) -> None:
        self._ids.append(np.array(rows.values("id"), "S"))
        self._locators += rows.values("locator")
        self._items.update(rows.values("item"))
        keys = zip(*map(rows.values, ("frames", "height", "width", "split")), strict=True)
        for (*bucket, split), count in collections.Counter(keys).items():
            counts = self._buckets.setdefault(tuple(bucket), dict.fromkeys(SPLITS, 0))
            counts[split] += count

    def _require_distinct(self) -> None:
        ids = np.concatenate(self._ids)
        order = np.argsort(ids, kind="stable")
        pairs = np.stack([order[:-1], order[1:]])[:, ids[order[1:]] == ids[order[:-1]]]
        if pairs.size:
            first, second = (self._locators[place] for place in pairs[:, pairs[1].argmin()].tolist())
            raise WrongUse(f"a row occurs more than once, at {first}, {second}; name each item once")


def bucket_name(bucket: tuple[int, int, int]) -> str:
    """``5x32x32``; ``prompts`` of rows that show nothing."""
    return "x".join(map(str, bucket)) if bucket[0] else "prompts"


def _write_table(path: Path, kind: type[R], parts: Iterable[Columns[R]]) -> None:
    with pq.ParquetWriter(path, schema_of(kind), compression="zstd") as writer:
        for part in parts:
            writer.write_table(part.table)


def _read_table(folder: Path, kind: type[R], name: str) -> list[R]:
    return _read_columns(folder, kind, name).records()


def _read_columns(folder: Path, kind: type[R], name: str) -> Columns[R]:
    _require(folder, name)
    return Columns(kind, pq.read_table(folder / name))


def _require(folder: Path, name: str) -> None:
    wanted = files.read_json(folder / SUMMARY)["digests"][name]
    if not (folder / name).is_file() or digests.of_file(folder / name) != wanted:
        raise Refused(f"{folder / name}: missing, or not the table that {SUMMARY} was written with; {REMEDY}")
