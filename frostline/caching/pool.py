"""The working store of all caches of a project: every latent and text that was ever encoded, found by its id.

    .work/latents/items|prompts|captions|text/...       parts, of which those in a cache are hard links
    .work/latents/fresh/latents/<unit>.parquet          latents that have no place among items yet
    .work/latents/fresh/captions|text/<unit>.parquet    texts likewise
    .work/latents/claims/<unit>                         held by the process that encodes a unit
    .work/latents/locks/...                             what one process does at a time
    .work/latents/digests/<part>.txt                    digest of each part, with its size and time of change
    .work/latents/digests/<part>.ids                    the ids in it, so that it need not be opened to know them
    .work/latents/sources/<source>.json                 the parts a source was last published with

Every file is whole or not there. Whatever lies here may be removed while nothing runs: it is encoded again. A published
part and its link are one file: whoever writes into the one spoils the other. So a part is trusted while its size and
time of change are those it was digested with, digested again otherwise, and removed if it differs.
"""

import contextlib
import fcntl
import functools
import itertools
import os
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import xxhash

from frostline import digests, files
from frostline.caching.known import Found, Ids, Known
from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.store import keys, payloads
from frostline.store.layout import CAPTIONS, EMBEDDING, ITEMS, LATENT, TEXT
from frostline.store.payloads import Payload, Runs

FOLDER = Path(".work") / "latents"
FRESH, CLAIMS, LOCKS, DIGESTS, LATENTS = "fresh", "claims", "locks", "digests", "latents"
OPEN = 16  # files at once
RECORDED = 3  # words of a record: digest, size, time of change
HEAD = 2  # rows of remembered ids that are none: of the file, and of themselves
REMEDY = "`frostline cache verify --repair` removes what is damaged, and `dvc repro` encodes it again"


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
        self._opened = functools.lru_cache(maxsize=OPEN)(_open)

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

    def keep(self, name: str, ids: Ids | None = None) -> None:
        """Take the digest of a part that was just written, and the ids in it if they are at hand."""
        path = self.path(name)
        _replace(self._record(name), " ".join([digests.of_file(path), *_stamp(path)]).encode())
        if ids:
            self._remember(path, ids)

    def remove(self, path: Path) -> None:
        """Remove a file of the pool, a text with its captions."""
        gone = [path]
        if path.parent.name == CAPTIONS:
            gone.append(path.parent.with_name(TEXT) / path.name)
        for one in gone:
            one.unlink(missing_ok=True)
            self._record(self.name(one)).unlink(missing_ok=True)
            self._remembered(one).unlink(missing_ok=True)

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
        path = self.folder / LOCKS / name
        with files.written(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("w")

    def _record(self, name: str) -> Path:
        return self.folder / DIGESTS / f"{name}.txt"

    def unit(self, kind: str, name: str) -> Path:
        """Where a unit of what was just encoded lies, or would."""
        return self.folder / FRESH / kind / f"{name}.parquet"

    def latents(self, bucket: str) -> Known:
        """The latents among the items of a bucket, and fresh ones."""
        return Known(self, f"{ITEMS}/{bucket}", LATENTS)

    def texts(self) -> Known:
        """The texts: each in the text part of the name of the captions part that lists it."""
        return Known(self, CAPTIONS, CAPTIONS)

    def parts(self, kind: str, but: Set[str] = frozenset()) -> list[Path]:
        """Parts of a kind, captions or items of a bucket, but for those of some names."""
        return self._files(kind, but)

    def fresh(self, kind: str, but: Set[str] = frozenset()) -> list[Path]:
        """Files of latents or captions that have no place in a part yet, but for those of some names."""
        return self._files(f"{FRESH}/{kind}", but)

    def ids(self, path: Path) -> Ids:
        """The ids that a part or unit holds, as it is now."""
        if ids := self._recall(path):
            return ids
        if path.parent.name == CAPTIONS:
            facts = payloads.columns(path, ["text_id", "tokens"], None)
            counts = payloads.numbers(facts["tokens"]).astype(np.int32)
            ids = Ids(keys=keys.of(facts["text_id"]), counts=counts)
        else:
            facts = payloads.columns(path, ["latent_id"], None)
            ids = Ids(keys=keys.of(facts["latent_id"]), counts=np.ones(len(facts), np.int32))
        if path.parts[len(self.folder.parts)] != FRESH:
            self._remember(path, ids)
        return ids

    def _remembered(self, path: Path) -> Path:
        return self.folder / DIGESTS / f"{self.name(path)}.ids"

    def _remember(self, path: Path, ids: Ids) -> None:
        """Keep the ids of a part: rows of three numbers, after the part's stamp and a digest of the rows."""
        rows = np.concatenate([ids.keys, ids.counts[:, None].astype(np.uint64)], axis=1)
        stamp, digest = np.array([*map(int, _stamp(path)), 0], np.uint64), _digest_of(rows)
        _replace(self._remembered(path), np.concatenate([stamp[None], digest[None], rows]).tobytes())

    def _recall(self, path: Path) -> Ids | None:
        """The ids of a part as they were kept; None if they were not, or the part or they have changed since."""
        try:
            data = self._remembered(path).read_bytes()
        except FileNotFoundError:
            return None
        if len(data) % 24 or len(data) < HEAD * 24:
            return None
        kept = np.frombuffer(data, np.uint64).reshape(-1, 3)
        rows = kept[HEAD:]
        if [str(one) for one in kept[0, :2].tolist()] != _stamp(path) or (kept[1] != _digest_of(rows)).any():
            return None
        return Ids(keys=rows[:, :2], counts=rows[:, 2].astype(np.int32))

    def read(self, found: Found) -> tuple[np.ndarray, list[str]]:
        """The tensors of found ids one after another, uint8 (n, width), and the digest of each id's.

        Raises Refused for bytes that are not what their digest says.
        """
        file, start, count = found.file, found.start, found.count
        ends = np.cumsum(count)
        data = np.empty((int(ends[-1]), self._opened(found.paths[file[0]])[0].tensors.width), np.uint8)
        breaks = np.flatnonzero((np.diff(file) != 0) | (start[1:] != start[:-1] + count[:-1])) + 1
        digest: list[str] = []
        for first, last in itertools.pairwise([0, *breaks.tolist(), len(file)]):
            payload, runs = self._opened(found.paths[file[first]])
            place = data[ends[first] - count[first] : ends[last - 1]]
            payload.read_into(place, int(start[first]))
            lengths = count[first:last]
            digest += _compared(payload.path, place, int(start[first]), lengths, runs)
        return data, digest

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

    def _files(self, kind: str, but: Set[str]) -> list[Path]:
        """Files of a kind, in order; captions only with their text."""
        folder = self.folder / kind
        there = os.listdir(folder) if folder.exists() else []  # noqa: PTH208 - there may be many, and few that are new
        parts = sorted(name for name in there if name.endswith(".parquet") and not name.startswith("."))
        found = [folder / name for name in parts if f"{kind}/{name}" not in but]
        return [path for path in found if folder.name != CAPTIONS or _text_of(path).exists()]

    def name(self, path: Path) -> str:
        """The name of a file of the pool."""
        return path.relative_to(self.folder).as_posix()


def _stamp(path: Path) -> list[str]:
    status = path.stat()
    return [str(status.st_size), str(status.st_mtime_ns)]


def _text_of(captions: Path) -> Path:
    return captions.parent.with_name(TEXT) / captions.name


def _replace(path: Path, data: bytes) -> None:
    """Write what may be lost: it is not synced."""
    beside = path.with_name(f".{path.name}")
    with files.written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        beside.replace(path)


def _digest_of(rows: np.ndarray) -> np.ndarray:
    return np.array([len(rows), xxhash.xxh3_64_intdigest(np.ascontiguousarray(rows).data), 0], np.uint64)


def _open(path: Path) -> tuple[Payload, Runs]:
    """The tensors that belong to a file of ids, and their digests."""
    if path.parent.name != CAPTIONS:
        runs = payloads.runs_of_latents(path, payloads.columns(path, ["latent_digest"], None))
        return payloads.open_payload(path, LATENT, None, runs), runs
    facts = payloads.columns(path, ["tokens", "text_digest"], None)
    first = np.concatenate([[0], np.cumsum(payloads.numbers(facts["tokens"]))])
    runs = Runs(path=path, first=first, digests=keys.of(facts["text_digest"]))
    return payloads.open_payload(_text_of(path), EMBEDDING, None, runs), runs


def _compared(path: str, data: np.ndarray, start: int, counts: np.ndarray, runs: Runs) -> list[str]:
    """The digests of runs of rows that follow each other, computed and compared; raises Refused where one differs."""
    run, done, found = int(np.searchsorted(runs.first, start)), 0, list[str]()
    for number, count in enumerate(counts.tolist(), run):
        digest = digests.of_bytes(data[done : done + count].data)
        if runs.first[number] != start + done or bytes.fromhex(digest) != runs.digests[number].tobytes():
            raise Refused(f"{path}: row {start + done} is not what its digest says; {REMEDY}")
        found.append(digest)
        done += count
    return found
