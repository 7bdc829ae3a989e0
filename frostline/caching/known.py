"""Where ids lie in the files of a pool, as arrays: 40 bytes an id, and no text."""

import itertools
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from frostline.store import keys

MERGED = 8  # looks of which the finds are put together


@dataclass(frozen=True, kw_only=True)
class Ids:
    """What a file holds: its ids in order."""

    keys: np.ndarray  # as store.keys has them, uint64 (n, 2)
    counts: np.ndarray  # tensor rows of each: 1 of a latent, the tokens of a text; int32 (n,)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where the tensors of ids lie; arrays (n,), one value per id."""

    paths: Sequence[Path]
    file: np.ndarray  # number of the path, -1 where nothing was found
    start: np.ndarray  # first tensor row in that file
    count: np.ndarray  # tensor rows
    fresh: np.ndarray  # true where it was found, and in no part

    @property
    def missing(self) -> np.ndarray:
        """Numbers of the ids that were not found."""
        return np.flatnonzero(self.file < 0)

    @property
    def unsettled(self) -> np.ndarray:
        """Numbers of the ids that no part has."""
        return np.flatnonzero((self.file < 0) | self.fresh)


class Files(Protocol):
    """What is asked of a pool."""

    def parts(self, kind: str, but: Set[str] = frozenset()) -> list[Path]:
        """Parts of a kind, but for those of some names."""
        ...

    def fresh(self, kind: str, but: Set[str] = frozenset()) -> list[Path]:
        """Units of a kind, but for those of some names."""
        ...

    def ids(self, path: Path) -> Ids:
        """What a file holds."""
        ...

    def name(self, path: Path) -> str:
        """The name of a file."""
        ...


class Run:
    """Ids of some files."""

    def __init__(self, keys_: np.ndarray, file: np.ndarray, start: np.ndarray, count: np.ndarray) -> None:
        self.keys, self.file, self.start, self.count = keys_, file, start, count
        self.index = keys.Index(keys_)

    @classmethod
    def of(cls, found: Sequence[tuple[int, Ids]]) -> "Run":
        """All ids of files that have a number."""
        starts = [np.cumsum(ids.counts, dtype=np.int32) - ids.counts for _, ids in found]
        return cls(
            np.concatenate([np.zeros((0, 2), np.uint64), *(ids.keys for _, ids in found)]),
            np.repeat(np.array([number for number, _ in found], np.int32), [len(ids.keys) for _, ids in found]),
            np.concatenate([np.zeros(0, np.int32), *starts]),
            np.concatenate([np.zeros(0, np.int32), *(ids.counts for _, ids in found)]),
        )

    @classmethod
    def merged(cls, runs: Sequence["Run"]) -> "Run":
        """Several as one."""
        columns = zip(*((run.keys, run.file, run.start, run.count) for run in runs), strict=True)
        return cls(*map(np.concatenate, columns))


class Known:
    """What lies in the parts of one kind and in fresh units, as far as it was looked at."""

    def __init__(self, pool: Files, kind: str, fresh: str) -> None:
        self._pool, self._kind, self._fresh_kind = pool, kind, fresh
        self._paths: list[Path] = []
        self._seen: set[str] = set()
        self._units: list[tuple[int, Ids]] = []  # that came while some ids were encoded
        self._of_units: Run | None = None  # the same
        self._parts: list[Run] = []
        self._fresh: list[Run] = []

    def look(self) -> None:
        """Take in the files that came since the last look."""
        parts = self._pool.parts(self._kind, self._seen)
        for paths, runs in ((parts, self._parts), (self._new_units(), self._fresh)):
            if new := self._read(paths):
                runs.append(Run.of(new))
            if len(runs) > MERGED:
                runs[:] = [Run.merged(runs)]

    def look_at_units(self) -> None:
        """Take in the units that were written since the last look, until ``settle``."""
        self._units = self._read(self._new_units())
        self._of_units = Run.of(self._units)

    def find(self, wanted: np.ndarray) -> Found:
        """Where ids lie; ``wanted`` as store.keys has them, (n, 2). Parts are preferred to units."""
        n = len(wanted)
        file, start, count = np.full(n, -1), np.full(n, -1), np.zeros(n, np.int64)
        fresh, units = np.zeros(n, bool), [self._of_units] if self._of_units else []
        for run, is_fresh in itertools.chain(
            ((run, False) for run in self._parts), ((run, True) for run in (*units, *self._fresh))
        ):
            left = np.flatnonzero(file < 0)
            places = run.index.find(wanted[left])
            here, places = left[places >= 0], places[places >= 0]
            file[here], start[here], count[here] = run.file[places], run.start[places], run.count[places]
            fresh[here] = is_fresh
        return Found(paths=self._paths, file=file, start=start, count=count, fresh=fresh)

    def settle(self, settled: np.ndarray, parts: Iterable[tuple[Path, np.ndarray, np.ndarray]]) -> None:
        """Forget the units whose ids are all among these, which parts have now.

        ``parts`` gives of each part that was written the ids that will be asked for again: keys, and their rows.
        """
        index = keys.Index(settled)
        for number, ids in self._units:
            if (index.find(ids.keys) < 0).any():  # another process is ahead: they will be asked for
                self._seen.discard(self._pool.name(self._paths[number]))
        self._units, self._of_units = [], None
        for path, again, rows in parts:
            self._seen.add(self._pool.name(path))
            if len(again):
                number = np.full(len(again), self._number(path), np.int32)
                self._parts.append(Run(again, number, rows.astype(np.int32), np.ones(len(again), np.int32)))
        if len(self._parts) > MERGED:
            self._parts = [Run.merged(self._parts)]

    def _new_units(self) -> list[Path]:
        return self._pool.fresh(self._fresh_kind, self._seen)

    def _read(self, paths: Sequence[Path]) -> list[tuple[int, Ids]]:
        self._seen.update(map(self._pool.name, paths))
        return [(self._number(path), self._pool.ids(path)) for path in paths]

    def _number(self, path: Path) -> int:
        self._paths.append(path)
        return len(self._paths) - 1
