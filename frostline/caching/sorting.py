"""Rows in order, however many: dealt into stretches of the order on disk, each of which is sorted as it is read.

What is held at a time is some thousands of rows, whatever their number: a table until it is dealt out, and a stretch.
"""

import bisect
import contextlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from frostline import files
from frostline.store.layout import compute

TOGETHER = 1 << 14  # rows that are dealt out at a time
STRETCH = 1 << 13  # rows of a stretch, about
STRETCHES = 1 << 9  # at most: more of them would make pieces of few rows
Key = tuple[Any, ...]


def bounds(sample: Sequence[Key], count: int) -> list[Key]:
    """Keys between the stretches of ``count`` rows, of which ``sample`` has keys."""
    ordered, stretches = sorted(sample), min(STRETCHES, -(-count // STRETCH))
    return [ordered[place * len(ordered) // stretches] for place in range(1, stretches)] if ordered else []


def even_bounds(count: int) -> list[Key]:
    """The same of ``count`` rows whose one key is a digest."""
    stretches = min(STRETCHES, -(-count // STRETCH))
    return [(f"{(place << 32) // stretches:08x}",) for place in range(1, stretches)]


class Sorter:
    """Takes rows in any order and gives them sorted by some columns; a context manager.

    Its file has no name, so that nothing of it stays when the process ends, however it ends.
    """

    def __init__(self, folder: Path, keys: Sequence[str], between: Sequence[Key], *, once: bool = False) -> None:
        """``between``: keys at which one stretch ends and the next begins, in order.

        ``once``: of rows with the same first key, a text, only the first is given.
        """
        self.rows = 0
        self._keys, self._between = list(keys), list(between)
        self._once = once
        self._waiting: list[pa.Table] = []
        self._batches: list[list[int]] = [[] for _ in range(len(self._between) + 1)]
        self._written = 0
        self._folder = folder
        with files.written(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it is closed in __exit__
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def __enter__(self) -> "Sorter":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # what is left to be written is of no use to anybody
            self._file.close()

    def add(self, rows: pa.Table) -> None:
        """Take rows; all tables have the same columns."""
        self.rows += len(rows)
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= TOGETHER:
            with files.written(self._folder):
                self._deal()

    def tables(self) -> Iterator[pa.Table]:
        """All rows in order, a stretch at a time; to be asked for once, when all were taken."""
        with files.written(self._folder):
            self._deal()
            if self._writer is None:
                return
            self._writer.close()
        self._file.seek(0)
        with pa.ipc.open_file(self._file) as reader:
            for batches in self._batches:
                if batches:
                    whole = pa.Table.from_batches([reader.get_batch(number) for number in batches])
                    yield self._ordered(whole)

    def _deal(self) -> None:
        """Write the rows that wait, a piece for each stretch."""
        rows, self._waiting = self._waiting, []
        if not sum(map(len, rows)):
            return
        ordered = self._ordered(pa.concat_tables(rows))
        if self._writer is None:
            self._writer = pa.ipc.new_file(self._file, ordered.schema)
        (batch,) = ordered.to_batches()
        starts = [0, *(self._place(ordered, key) for key in self._between), len(ordered)]
        for number, (start, end) in enumerate(itertools.pairwise(starts)):
            if end > start:
                self._writer.write_batch(batch.slice(start, end - start))
                self._batches[number].append(self._written)
                self._written += 1

    def _ordered(self, rows: pa.Table) -> pa.Table:
        """Rows in order, in one piece; Table.sort_by would load pandas."""
        places = compute.sort_indices(rows, sort_keys=[(key, "ascending") for key in self._keys])
        ordered = rows.take(places).combine_chunks()
        if not self._once:
            return ordered
        first = ordered[self._keys[0]].combine_chunks()
        again = compute.equal(first.slice(1), first.slice(0, len(first) - 1))
        kept = pa.concat_arrays([pa.array([True], pa.bool_()), compute.invert(again)])
        return ordered.take(compute.indices_nonzero(kept)).combine_chunks()

    def _place(self, ordered: pa.Table, key: Key) -> int:
        """The first of rows in order that is not before a key."""
        columns = [ordered[name] for name in self._keys]
        return bisect.bisect_left(range(len(ordered)), key, key=lambda row: tuple(one[row].as_py() for one in columns))
