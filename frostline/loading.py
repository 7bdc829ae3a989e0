"""The batches of a training, read ahead of it: the same rows for any number of readers, and of processes that train.

Readers are processes of torch's DataLoader, which tells them the steps and gives what they read in the order of the
steps. They are forks: open files and the index are those of the training, and nothing is opened or verified again. Each
reads whole batches, as the bytes that are stored, into memory that both processes see and that is used again and again:
nothing is copied or allocated on the way. Steps are told without a thread of multiprocessing's queues, which takes the
interpreter's lock at a training's first chance and made it wait for milliseconds at each batch.

What is read is known from the steps alone, so there is nothing to save and nothing to restore: a training that goes on
asks for its next step.
"""

import atexit
import mmap
import multiprocessing
import os
import queue
import signal
import weakref
from collections.abc import Generator
from multiprocessing.context import ForkContext
from typing import Any

import torch
from torch.utils import data

from frostline import workspace
from frostline.batches import WHOLE, Batches, Share
from frostline.dataset import Batch, Outline, Stored
from frostline.errors import WrongUse

AHEAD = 3  # batches of each reader that the disk is told of
TELLING = 64  # batches for which it is told, once half of what one is made of had to be waited for
WAITING = 2  # batches that each reader may be ahead
SMALL = 1 << 20  # bytes; smaller batches are read in less time than they are handed over
MOST = 4  # readers of one process; one alone reads a gigabyte in a second
_READING: weakref.WeakSet[Generator[Stored, None, None]] = weakref.WeakSet()  # what this process reads


def read(
    batches: Batches, first: int, end: int, *, share: Share = WHOLE, readers: int = 0
) -> Generator[Batch, None, None]:
    """A share of the batches of steps ``first`` to ``end`` - 1; without readers, each is read when it is asked for.

    Close it to end the readers. Raises WrongUse for a batch that cannot be shared evenly, Refused as the dataset does.
    """
    for stored in read_bytes(batches, first, end, share=share, readers=readers):
        yield batches.dataset.finish(stored)


def read_bytes(
    batches: Batches, first: int, end: int, *, share: Share = WHOLE, readers: int = 0
) -> Generator[Stored, None, None]:
    """What ``read`` gives, unfinished: all that a training waits for. Each is good until the next is asked for."""
    reading = _read_bytes(batches, first, end, share, readers)
    _READING.add(reading)
    return reading


def _read_bytes(batches: Batches, first: int, end: int, share: Share, readers: int) -> Generator[Stored, None, None]:
    for name, bucket in batches.buckets.items():
        if bucket.batch % share.world:
            raise WrongUse(
                f"buckets.{name}.batch is {bucket.batch}, which {share.world} processes cannot share evenly: "
                f"use a multiple of {share.world}"
            )
    # One is looked at, the others are filled.
    rooms = [_room(batches.most(share)) for _ in range(readers * WAITING + 1)]
    steps = _Steps(batches, share, first, end, rooms)
    loader = _loader(steps, range(first, end), readers) if readers else map(steps.__getitem__, range(first, end))
    for step, (outline, size, waited) in zip(range(first, end), loader, strict=True):
        yield Stored(outline, steps.room(step)[:size], waited)


def _loader(steps: "_Steps", sampler: range, readers: int) -> data.DataLoader[tuple[Outline, int, int]]:
    return data.DataLoader(
        steps,
        batch_size=None,
        sampler=sampler,
        num_workers=readers,
        prefetch_factor=WAITING,
        multiprocessing_context=_Forks(),
        collate_fn=_as_read,
        worker_init_fn=_settle,
        generator=torch.Generator(),  # the loader draws a seed, which nothing uses: not from the global state
    )


@atexit.register
def _close() -> None:
    """End the readers of a training that ends without closing them, which would wait for them: they ignore SIGTERM."""
    for reading in list(_READING):
        reading.close()


def readers(batches: Batches, *, threads: int, share: Share = WHOLE) -> int:
    """How many readers are worth their while: none for small batches, else the cores that training leaves."""
    if batches.most(share) < SMALL:
        return 0
    return max(0, min(len(os.sched_getaffinity(0)) // share.world - threads, MOST))


class _Steps(data.Dataset[tuple[Outline, int, int]]):
    """Batches by their steps, as one reader sees them: one step in as many as there are readers."""

    def __init__(self, batches: Batches, share: Share, first: int, end: int, rooms: list[memoryview]) -> None:
        self._batches, self._share, self._first, self._end, self._rooms = batches, share, first, end, rooms
        self._told = -1  # the last step that the disk was told of
        self._telling = 0  # steps before this one tell it of those that follow

    def room(self, step: int) -> memoryview:
        """Where the bytes of a step lie."""
        return self._rooms[(step - self._first) % len(self._rooms)]

    def __getitem__(self, step: int) -> tuple[Outline, int, int]:
        """Read a step's batch to its room; gives what Stored holds, with the number of bytes in their stead."""
        worker = data.get_worker_info()
        turn = worker.num_workers if worker else 1
        if step < self._telling:
            self._tell(step, turn)
        stored = self._batches.read(step, self._share, self.room(step))
        if stored.waited > len(stored.outline.rows):
            self._telling = step + TELLING * turn
        return stored.outline, len(stored.data), stored.waited

    def _tell(self, step: int, turn: int) -> None:
        for later in range(max(step, self._told) + turn, min(step + AHEAD * turn + 1, self._end), turn):
            self._batches.expect(later, self._share)
            self._told = later


class _Line:
    """What is put goes into the pipe at once: a step, or a batch's outline, far less than a pipe takes.

    Several processes may put, one gets.
    """

    def __init__(self) -> None:
        self._read, self._written = multiprocessing.Pipe(duplex=False)
        self._turn = multiprocessing.Lock()

    def put(self, what: Any) -> None:
        """As that of multiprocessing.Queue."""
        with self._turn:
            self._written.send(what)

    def get(self, timeout: float | None = None) -> Any:
        """As that of multiprocessing.Queue."""
        if not self._read.poll(timeout):
            raise queue.Empty
        return self._read.recv()

    def close(self) -> None:
        """Nothing is put or got here any more."""
        self._read.close()
        self._written.close()

    def cancel_join_thread(self) -> None:
        """There is no thread."""


class _Forks(ForkContext):
    """Forks that talk by such lines."""

    def Queue(self, maxsize: int = 0) -> Any:  # noqa: ARG002, N802 - as multiprocessing has it
        """A line; the loader never has more on it than it asked for."""
        return _Line()


def _room(size: int) -> memoryview:
    """Memory that processes share, which takes room when it is first written to."""
    return memoryview(mmap.mmap(-1, size))


def _as_read(read: Any) -> Any:
    """What came from a reader, where the loader would make lists of tuples."""
    return read


def _settle(_: int) -> None:
    """A reader ends with its training, and only then: SIGTERM asks the training to save its progress first."""
    workspace.die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
