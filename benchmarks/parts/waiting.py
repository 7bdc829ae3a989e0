"""How long trainings wait for their data: eight at once, each with a reader beside it, every step a sleep.

A step takes the time that its rate gives: 10 MB a second for each training, as of Wan 1.3B on one accelerator each, or
1,000 images a second for all of them. What is waited for are the bytes of a batch. What a network sees is made of them
on its own processor; that time is measured apart.
"""

import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import Frame
from benchmarks.parts import far_store, in_turn, latent_rows, scratch, synthetic_cache
from benchmarks.parts.synthetic_cache import IMAGES, Kind
from frostline import loading
from frostline.batches import Batches, Share
from frostline.dataset import Dataset
from frostline.params.stores import StoreParams
from frostline.params.trainings import BucketShare

WORLD, READERS = 8, 1
WARM = 3  # steps that are not counted: the readers begin
PART = 256  # rows
LIMIT = 0.01  # of a step
LOCAL = "local files in the page cache"


class Rate(NamedTuple):
    """How fast data are used."""

    figure: str
    megabytes: float | None  # a second, of each training; None: images decide
    images: float | None  # a second, of all
    batch: int  # rows, of each training
    steps: int

    def step(self, row: int) -> float:
        """Seconds of a step, for rows of so many bytes."""
        if self.megabytes is not None:
            return self.batch * row / (self.megabytes * 1e6)
        assert self.images is not None
        return self.batch * WORLD / self.images


class Size(NamedTuple):
    """What is read."""

    kind: Kind
    rows: int
    wan: Rate
    images: Rate
    far: int  # rows in a store


FULL = Size(IMAGES, 2048, Rate("wan", 10.0, None, 8, 24), Rate("images", None, 1000.0, 16, 120), 512)
QUICK = Size(latent_rows.SMALL, 64, Rate("wan", 1.0, None, 2, 6), Rate("images", None, 1000.0, 2, 6), 32)


def measure(frame: Frame) -> None:
    """Measure and record both rates, from local files and from a store."""
    size = QUICK if frame.quick else FULL
    with scratch.folder(frame) as folder:
        dataset = Dataset(*synthetic_cache.make(folder, size.kind, rows=size.rows, part=PART))
        for rate in (size.wan, size.images):
            _record(frame, rate.figure, rate, dataset, _all(dataset, rate, WORLD), LOCAL)
    with scratch.folder(frame) as folder, far_store.opened(folder) as address:
        if address is not None:
            _far(frame, size, folder, address)
            return
    for rate in (size.wan, size.images):
        frame.not_run(f"waiting_{rate.figure}_s3", LIMIT, "<=", unit="of a step", reason=far_store.NO_SERVER)


def _far(frame: Frame, size: Size, folder: Path, address: str) -> None:
    """One training on what nobody read before, for server, relay and training have two cores; then all from blocks."""
    index, near = synthetic_cache.make(folder, size.kind, rows=size.far, part=PART)
    far = far_store.moved(near, folder / "far", f"{address}/{synthetic_cache.NAME}")
    dataset = Dataset(index, far, StoreParams(address=None, blocks=str(folder / "blocks"), gigabytes=10))
    waits = _all(dataset, size.wan, 1)
    _record(frame, f"{size.wan.figure}_s3", size.wan, dataset, waits, f"a store {far_store.AWAY}, nothing kept before")
    for row in range(len(dataset)):
        dataset.read([row])
    waits = _all(dataset, size.images, WORLD)
    _record(frame, f"{size.images.figure}_s3", size.images, dataset, waits, "blocks of a store, kept on the disk")


def _record(frame: Frame, name: str, rate: Rate, dataset: Dataset, waits: list[np.ndarray], where: str) -> None:
    row = _row(dataset)
    step = rate.step(row)
    shares = sorted(float(one.sum() / (one.sum() + step * len(one))) for one in waits)
    stored = dataset.read(list(range(rate.batch)))
    finishing = in_turn.cost(lambda: dataset.finish(stored)).cpu
    frame.record(
        f"waiting_{name}",
        shares[-1],
        LIMIT,
        "<=",
        unit="of a step",
        n=sum(map(len, waits)),
        spread=f"{shares[0]:.4f} to {shares[-1]:.4f} over {len(waits)} trainings, the largest counts",
        note=f"{len(waits)} trainings with a reader each, batches of {rate.batch} rows of {row >> 10} KiB, steps of "
        f"{step * 1e3:.0f} ms: {rate.batch * row / step / 1e6:.0f} MB a second each; {where}; "
        f"longest wait {max(map(max, waits)) * 1e3:.1f} ms; to normalise and pad one takes {finishing * 1e3:.1f} ms",
    )


def _row(dataset: Dataset) -> int:
    """Bytes of a row: all have as many."""
    return len(dataset.read([0]).data)


def _all(dataset: Dataset, rate: Rate, world: int) -> list[np.ndarray]:
    """The seconds each training waited at each step: all of them at once, as forks, which share what is open."""
    steps = WARM + rate.steps
    [bucket] = dataset.buckets
    buckets = {bucket: BucketShare(share=1.0, batch=rate.batch * world)}
    batches = Batches(dataset, buckets=buckets, steps=steps, dropout=0.0, seed=0)
    pause = rate.step(_row(dataset))
    context, started = multiprocessing.get_context("fork"), []
    for rank in range(world):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_train, args=(batches, Share(rank=rank, world=world), steps, pause, there))
        process.start()
        started.append((process, here))
    found = [here.recv() for _, here in started]
    for process, _ in started:
        process.join()
    return found


def _train(batches: Batches, share: Share, steps: int, pause: float, answer: "Connection[Any, Any]") -> None:
    """A training that sleeps."""
    reading = loading.read_bytes(batches, 0, steps, share=share, readers=READERS)
    waits = []
    for _ in range(steps):
        asked = time.perf_counter()
        next(reading)
        waits.append(time.perf_counter() - asked)
        time.sleep(pause)
    reading.close()
    answer.send(np.array(waits[WARM:]))
