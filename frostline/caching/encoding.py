"""Items that no file of the pool has yet, through the frozen VAE.

Threads decode ahead of the VAE and one writes behind it, both bounded. Every VAE call has the same number of items, the
last of a unit padded: the bits of a latent depend on the batch's size, not on its neighbours.
"""

import collections
import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from frostline.caching import units, wanted
from frostline.caching.bars import Bar
from frostline.caching.pool import LATENTS, Pool
from frostline.caching.units import Claims, Unit
from frostline.codec import Codec
from frostline.errors import Refused
from frostline.manifest import Columns, Row
from frostline.params import CacheParams
from frostline.store import layout, writing

UNIT_BATCHES = 16
UNIT_BYTES = 1 << 20  # of latents in a unit, at least
DECODERS = 8  # threads, at most
TOGETHER_BYTES = 256 << 10  # of pixels that one thread decodes at once, unless a row has more
AHEAD_BYTES = 1 << 30  # of pixels decoded before the VAE asks for them, at most
Bucket = tuple[int, int, int]
Pixels = Callable[[Row], np.ndarray]
"""row -> uint8 (T, H, W, 3) at the row's bucket; asked from several threads"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One row on its way, and the unit it ends."""

    row: Row
    ends: "Ending | None"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is done when the last row of a unit is encoded."""

    unit: Unit
    ids: list[str]  # of the rows that were encoded
    claim: contextlib.ExitStack


class Encoder:
    """Encodes rows of one bucket."""

    def __init__(self, bucket: Bucket, pixels: Pixels, codec: Codec, params: CacheParams, pool: Pool) -> None:
        self.bucket, self.pixels, self.codec, self.pool = bucket, pixels, codec, pool
        self.name = layout.bucket_name(bucket)
        self.size = params.encode_batch  # items of a VAE call
        self.tiled = wanted.tiled(*bucket[1:], codec.latent_space, params)
        self.shape = codec.latent_space.shape(bucket)
        self.width = int(np.prod(self.shape)) * layout.DTYPES[codec.latent_space.stored_dtype].itemsize

    def encode(self, rows: Columns[Row], ids: Sequence[str], fresh: Set[str], bar: Bar) -> None:
        """Put the latents of rows into the pool, but for those that are fresh there.

        Units that another process has claimed are waited for. ``bar`` is told of rows that were encoded.

        Raises Refused if the VAE gives something that is no number.
        """
        batches = max(UNIT_BATCHES, UNIT_BYTES // (self.width * self.size))
        with (
            Claims(units.cut(ids, self.size * batches, LATENTS, self.pool), self.pool) as claims,
            ThreadPoolExecutor(1) as writer,
        ):
            written: Future[None] | None = None
            encoded: list[np.ndarray] = []
            for batch in _batches(self._decoded(self._tasks(claims, rows, ids, fresh)), self.size):
                encoded.append(self._through_vae(batch))
                bar.add(len(batch))
                if ending := batch[-1][0].ends:
                    if written:
                        written.result()
                    written = writer.submit(self._write, ending, np.concatenate(encoded))
                    encoded = []
            if written:
                written.result()

    def _tasks(self, claims: Claims, rows: Columns[Row], ids: Sequence[str], fresh: Set[str]) -> Iterator[Task]:
        """The rows that are to be encoded here, unit after unit."""
        for unit, claim in claims:
            new = [place for place in unit.places if ids[place] not in fresh]
            if not new:
                claim.close()
                continue
            ending = Ending(unit=unit, ids=[ids[place] for place in new], claim=claim)
            *others, last = rows.records(new)
            yield from (Task(row=row, ends=None) for row in others)
            yield Task(row=last, ends=ending)

    def _decoded(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, np.ndarray]]:
        """Tasks with their pixels; those of some batches are begun before they are asked for."""
        decoders = min(DECODERS, len(os.sched_getaffinity(0)))
        row_bytes = int(np.prod(self.bucket)) * 3
        together = max(1, min(self.size, TOGETHER_BYTES // row_bytes))
        ahead = max(1, min(2 * self.size, AHEAD_BYTES // row_bytes) // together + decoders)
        with ThreadPoolExecutor(decoders) as threads:
            begun: collections.deque[tuple[list[Task], Future[list[np.ndarray]]]] = collections.deque()
            try:
                while group := list(itertools.islice(tasks, together)):
                    begun.append((group, threads.submit(self._pixels, group)))
                    if len(begun) > ahead:
                        yield from _results(*begun.popleft())
                while begun:
                    yield from _results(*begun.popleft())
            finally:
                threads.shutdown(cancel_futures=True)

    def _pixels(self, tasks: Sequence[Task]) -> list[np.ndarray]:
        return [self.pixels(task.row) for task in tasks]

    def _through_vae(self, batch: Sequence[tuple[Task, np.ndarray]]) -> np.ndarray:
        """Latents as they are stored, uint8 (n, width)."""
        stacked = torch.from_numpy(np.stack([pixels for _, pixels in batch]))
        padded = torch.cat([stacked, stacked[-1:].expand(self.size - len(batch), *stacked.shape[1:])])
        raw = self.codec.encode(padded, self.tiled)[: len(batch)].cpu()
        if not torch.isfinite(raw).all():
            names = [task.row.locator for task, _ in batch]
            raise Refused(f"{self.codec.base / 'vae'}: gives numbers that are not finite for one of {names}")
        return writing.latent_bytes(raw, self.codec.latent_space)

    def _write(self, ending: Ending, data: np.ndarray) -> None:
        with ending.claim:
            writing.write_latents(ending.unit.path, self.pool.space, self.shape, ending.ids, data)


def _results(tasks: list[Task], pixels: Future[list[np.ndarray]]) -> Iterator[tuple[Task, np.ndarray]]:
    return zip(tasks, pixels.result(), strict=True)


def _batches(decoded: Iterator[tuple[Task, np.ndarray]], size: int) -> Iterator[list[tuple[Task, Any]]]:
    """Rows of one unit at a time, at most ``size``."""
    batch: list[tuple[Task, Any]] = []
    for task, pixels in decoded:
        batch.append((task, pixels))
        if len(batch) == size or task.ends:
            yield batch
            batch = []
    if batch:
        yield batch
