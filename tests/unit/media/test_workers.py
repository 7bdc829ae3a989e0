"""Processes that look at media: the same as here, and one that dies costs one item."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from frostline import media, storage
from frostline.errors import WrongUse
from frostline.media.workers import Failure, Outcome, Task, Workers

LIMITS = media.Limits(max_pixels=10_000, max_frames=100)


def images(folder: Path, count: int) -> list[Task]:
    drawn = np.random.default_rng(0)
    for n in range(count):
        media.write_png(folder / f"{n}.png", drawn.integers(0, 255, (20, 24, 3), np.uint8))
    (folder / "1.png").write_bytes(b"no picture")
    return [Task("probe", (storage.blob(str(folder), f"{n}.png"),), "image") for n in range(count)]


def all_of(pool: Workers, tasks: list[Task]) -> dict[int, Outcome]:
    for number, task in enumerate(tasks):
        pool.give(number, task)
    found: dict[int, Outcome] = {}
    while pool.busy:
        found |= dict(pool.outcomes())
    return found


def test_processes_say_what_is_said_here(tmp_path: Path):
    tasks = images(tmp_path, 9)
    tasks += [Task("content", task.blobs, "image") for task in tasks]
    here, there = Workers(0, LIMITS, None), Workers(2, LIMITS, None)
    expected = all_of(here, tasks)
    assert all_of(there, tasks) == expected
    there.close()
    failure = expected[1]
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.content) == ("not_an_image", expected[10])
    good = expected[0]
    assert isinstance(good, media.Probe)
    assert good.content == expected[9]


def test_what_is_not_there_says_nothing_of_its_bytes(tmp_path: Path):
    task = images(tmp_path, 2)[0]
    (tmp_path / "0.png").unlink()
    (found,) = all_of(Workers(0, LIMITS, None), [task]).values()
    assert found == Failure("absent", f"{tmp_path}/0.png: no such file", None)


def test_a_worker_that_dies_costs_the_item_it_died_of(tmp_path: Path):
    """Killed from outside, as by a system that has no memory left."""
    tasks = images(tmp_path, 30)
    pool = Workers(1, LIMITS, None)
    for number, task in enumerate(tasks):
        pool.give(number, task)
    first = pool.outcomes()
    while not first:
        first = pool.outcomes()
    (worker,) = pool._workers
    pid = worker._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # it holds two tasks now and answers none
    os.kill(pid, signal.SIGKILL)
    found = dict(first)
    while pool.busy:
        found |= dict(pool.outcomes())
    pool.close()
    assert sorted(found) == list(range(30))
    crashed = [outcome for outcome in found.values() if isinstance(outcome, Failure) and outcome.reason == "crashed"]
    assert len(crashed) <= 1
    assert all("SIGKILL" in outcome.message and outcome.content is None for outcome in crashed)


def test_an_item_that_kills_every_worker_is_left_out_and_the_others_are_not(tmp_path: Path):
    tasks = images(tmp_path, 6)
    tasks[3] = Task("probe", (_Deadly(tasks[3].blobs[0]),), "image")  # pyright: ignore[reportArgumentType]
    pool = Workers(2, LIMITS, None)
    found = all_of(pool, tasks)
    pool.close()
    crashed = found.pop(3)
    assert crashed == Failure("crashed", "decoding it ended the process (SIGSEGV)", None)
    assert {number for number, outcome in found.items() if isinstance(outcome, Failure)} == {1}


class _Deadly:
    """A blob that ends the process that opens it, as a decoder with a hole does."""

    def __init__(self, blob: storage.Blob) -> None:
        self.path, self.offset, self.size = blob.path, blob.offset, blob.size

    def open(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


def test_what_is_no_fault_of_an_item_is_raised(tmp_path: Path):
    task = images(tmp_path, 1)[0]
    elsewhere = storage.Blob("ftp://example/0.png", 0, 1, "")
    for processes in (0, 1):
        pool = Workers(processes, LIMITS, None)
        with pytest.raises(WrongUse, match="ftp://example"):
            all_of(pool, [task, Task("probe", (elsewhere,), "image")])
        pool.close()


def test_closing_ends_the_processes(tmp_path: Path):
    tasks = images(tmp_path, 4)
    pool = Workers(2, LIMITS, None)
    all_of(pool, tasks)
    processes = [worker._process for worker in pool._workers]
    assert len(processes) == 2
    pool.close()
    assert not any(process.is_alive() for process in processes)
