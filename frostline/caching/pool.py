"""The working store of all caches of a project: every latent and text that was ever encoded, found by its id.

    .work/latents/items|prompts|captions|text/...       parts, of which those in a cache are hard links
    .work/latents/fresh/latents/<unit>.parquet          latents that have no place among items yet
    .work/latents/fresh/captions|text/<unit>.parquet    texts likewise
    .work/latents/claims/<unit>                         held by the process that encodes a unit
    .work/latents/locks/...                             what one process does at a time
    .work/latents/digests/...                           of each part, with its size and time of change
    .work/latents/sources/<source>.json                 the parts a source was last published with

Every file is whole or not there. Whatever lies here may be removed while nothing runs: it is encoded again. A published
part and its link are one file: whoever writes into the one spoils the other. So a part is trusted while its size and
time of change are those it was digested with, digested again otherwise, and removed if it differs.
"""

import contextlib
import fcntl
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from frostline import digests
from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.store import payloads
from frostline.store.layout import CAPTIONS, ITEMS, TEXT, compute

FOLDER = Path(".work") / "latents"
FRESH, CLAIMS, LOCKS, DIGESTS, LATENTS = "fresh", "claims", "locks", "digests", "latents"
OPEN = 64  # files at once
RECORDED = 3  # words of a record: digest, size, time of change
REMEDY = "`frostline cache verify --repair` removes what is damaged, and `dvc repro` encodes it again"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where the tensors of ids lie in files of the pool; arrays (n,), one value per id."""

    paths: list[Path]
    parts: int  # how many of the paths, the first ones, are parts; the others are fresh
    file: np.ndarray  # number of the path, -1 where nothing was found
    start: np.ndarray  # first tensor row in that file
    count: np.ndarray  # tensor rows: 1 of a latent, the tokens of a text
    digest: list[str | None]  # of their bytes

    @property
    def missing(self) -> np.ndarray:
        """Numbers of the ids that were not found."""
        return np.flatnonzero(self.file < 0)

    @property
    def unsettled(self) -> np.ndarray:
        """Numbers of the ids that no part has."""
        return np.flatnonzero((self.file < 0) | (self.file >= self.parts))


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What is written down of a part."""

    digest: str
    stamp: list[str]  # its size and time of change

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.stamp[0])


class Pool:
    """The working store of one project, seen in one latent space."""

    def __init__(self, folder: Path, space: LatentSpace) -> None:
        self.folder, self.space = folder, space
        self._opened = functools.lru_cache(maxsize=OPEN)(payloads.open_payload)

    def path(self, name: str) -> Path:
        """Where a part lies, or would."""
        return self.folder / name

    def digest(self, name: str) -> str | None:
        """The digest of a part as it was written; None if it is not there, or was spoiled, and then it goes."""
        path, recorded = self.path(name), self.recorded(name)
        if not path.exists() or not recorded:
            return None
        if recorded.stamp != _stamp(path) and digests.of_file(path) != recorded.digest:
            self.remove(path)
            return None
        return recorded.digest

    def recorded(self, name: str) -> "Recorded | None":
        """What was written down of a part when it was written, whatever became of it."""
        record = self._record(name)
        words = record.read_text().split() if record.exists() else []
        return Recorded(digest=words[0], stamp=words[1:]) if len(words) == RECORDED else None

    def keep(self, name: str) -> None:
        """Take the digest of a part that was just written."""
        path = self.path(name)
        record = self._record(name)
        record.parent.mkdir(parents=True, exist_ok=True)
        beside = record.with_name(f".{record.name}")
        beside.write_text(" ".join([digests.of_file(path), *_stamp(path)]))
        beside.replace(record)  # not synced: a part whose record is lost is built again

    def remove(self, path: Path) -> None:
        """Remove a file of the pool, a text with its captions."""
        gone = [path]
        if path.parent.name == CAPTIONS:
            gone.append(path.parent.with_name(TEXT) / path.name)
        for one in gone:
            one.unlink(missing_ok=True)
            self._record(str(one.relative_to(self.folder))).unlink(missing_ok=True)

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Keep other processes from removing files meanwhile."""
        with self._lock_file("pool") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Gives True if no other process uses the pool, and keeps it so."""
        with self._lock_file("pool") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextlib.contextmanager
    def one_at_a_time(self, name: str) -> Iterator[None]:
        """Wait until no other process is in here under this name."""
        with self._lock_file(name) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _lock_file(self, name: str) -> IO[str]:
        (self.folder / LOCKS).mkdir(parents=True, exist_ok=True)
        return (self.folder / LOCKS / name).open("w")

    def _record(self, name: str) -> Path:
        return self.folder / DIGESTS / f"{name}.txt"

    def unit(self, kind: str, name: str) -> Path:
        """Where a unit of what was just encoded lies, or would."""
        return self.folder / FRESH / kind / f"{name}.parquet"

    def latents(self, ids: pa.Array, bucket: str) -> Found:
        """Where latents lie, among the items of their bucket and fresh ones."""
        parts = self._files(f"{ITEMS}/{bucket}")
        paths = [*parts, *self.fresh(LATENTS)]
        facts, file, first = _stacked(paths, ["latent_id", "latent_digest"])
        starts = np.arange(len(facts)) - first[file]
        ones = np.ones_like(starts)
        return _found(ids, paths, len(parts), file, starts, ones, facts["latent_id"], facts["latent_digest"])

    def texts(self, ids: pa.Array) -> Found:
        """Where texts lie: each in the text part of the name of the captions part that lists it."""
        both = [
            (text, captions)
            for root in ("", f"{FRESH}/")
            for captions in self._files(f"{root}{CAPTIONS}")
            if (text := self.folder / f"{root}{TEXT}" / captions.name).exists()
        ]
        facts, file, first = _stacked([captions for _, captions in both], ["text_id", "text_digest", "tokens"])
        tokens = facts["tokens"].to_numpy()
        before = np.concatenate([[0], np.cumsum(tokens)]).astype(np.int64)
        starts = before[:-1] - before[first[file]]
        paths = [text for text, _ in both]
        parts = sum(text.parent.parent == self.folder for text in paths)
        return _found(ids, paths, parts, file, starts, tokens, facts["text_id"], facts["text_digest"])

    def read(self, found: Found, rows: slice, column: str) -> np.ndarray:
        """The tensors of found ids one after another, uint8 (n, width).

        Raises Refused for bytes that are not what their digest says.
        """
        file, start, count = found.file[rows], found.start[rows], found.count[rows]
        ends = np.cumsum(count)
        width = self._opened(found.paths[file[0]], column, None).tensors.width
        data = np.empty((int(ends[-1]), width), np.uint8)
        breaks = np.flatnonzero((np.diff(file) != 0) | (start[1:] != start[:-1] + count[:-1])) + 1
        for first, last in itertools.pairwise([0, *breaks.tolist(), len(file)]):
            place = data[ends[first] - count[first] : ends[last - 1]]
            self._opened(found.paths[file[first]], column, None).read_into(place, int(start[first]))
        for number, (end, length, digest) in enumerate(
            zip(ends.tolist(), count.tolist(), found.digest[rows], strict=True)
        ):
            if digests.of_bytes(data[end - length : end].data) != digest:
                path = found.paths[file[number]]
                raise Refused(f"{path}: row {start[number]} is not what its digest says; {REMEDY}")
        return data

    @contextlib.contextmanager
    def claim(self, unit: str, *, wait: bool) -> Iterator[bool]:
        """Hold the right to encode a unit; gives False if another process has it and ``wait`` is False.

        A claim ends with its process. Its file goes with the last of it, so whoever waited looks for the unit again.
        """
        path = self.folder / CLAIMS / unit
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)

    def fresh(self, kind: str) -> list[Path]:
        """Files of latents or captions that have no place in a part yet."""
        return self._files(f"{FRESH}/{kind}")

    def _files(self, kind: str) -> list[Path]:
        return sorted(path for path in (self.folder / kind).glob("*.parquet") if not path.name.startswith("."))


def _stamp(path: Path) -> list[str]:
    status = path.stat()
    return [str(status.st_size), str(status.st_mtime_ns)]


def _stacked(paths: Sequence[Path], columns: Sequence[str]) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Columns of many files one after another; of each row the number of its file; the first row of each file."""
    tables = [payloads.columns(path, columns, None) for path in paths]
    lengths = [len(table) for table in tables]
    empty = pa.table({name: pa.array([], pa.int64() if name == "tokens" else pa.string()) for name in columns})
    whole = pa.concat_tables([table.select(columns) for table in tables]) if tables else empty
    return whole, np.repeat(np.arange(len(paths)), lengths), np.cumsum([0, *lengths])


def _found(
    ids: pa.Array,
    paths: list[Path],
    parts: int,
    file: np.ndarray,
    start: np.ndarray,
    count: np.ndarray,
    known: pa.ChunkedArray,
    digest: pa.ChunkedArray,
) -> Found:
    """Look ids up among the known ones."""
    places = compute.index_in(ids, known.combine_chunks())
    here = np.asarray(places.is_valid())
    at = compute.fill_null(places, 0).to_numpy()
    nothing = np.full(len(ids), -1)
    return Found(
        paths=paths,
        parts=parts,
        file=np.where(here, file[at], -1) if len(file) else nothing,
        start=np.where(here, start[at], -1) if len(file) else nothing,
        count=np.where(here, count[at], 0) if len(file) else nothing,
        digest=digest.combine_chunks().take(places).to_pylist(),
    )
