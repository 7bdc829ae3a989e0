"""Processes that look at media: the same as here, and one that dies costs one item."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from frostline import media, storage
from frostline.errors import WrongUse
from frostline.media import keeping
from frostline.media.keeping import Failure, Found
from frostline.media.workers import Task, Workers

LIMITS = media.Limits(max_pixels=10_000, max_frames=100)


def images(folder: Path, count: int) -> list[Task]:
    drawn = np.random.default_rng(0)
    for n in range(count):
        media.write_png(folder / f"{n}.png", drawn.integers(0, 255, (20, 24, 3), np.uint8))
    (folder / "1.png").write_bytes(b"no picture")
    return [Task("probe", (storage.blob(str(folder), f"{n}.png"),), "image") for n in range(count)]


def all_of(pool: Workers, tasks: list[Task]) -> dict[int, str]:
    for number, task in enumerate(tasks):
        pool.give(number, task)
    found: dict[int, str] = {}
    while pool.busy:
        found |= dict(pool.outcomes())
    return found


def understood(outcome: str, name: Path) -> Found:
    return keeping.read(outcome, str(name))


def test_processes_say_what_is_said_here(tmp_path: Path):
    tasks = images(tmp_path, 9)
    tasks += [Task("content", task.blobs, "image") for task in tasks]
    here, there = Workers(0, LIMITS, None), Workers(2, LIMITS, None)
    expected = all_of(here, tasks)
    assert all_of(there, tasks) == expected
    there.close()
    failure = understood(expected[1], tmp_path / "1.png")
    assert isinstance(failure, Failure)
    assert failure.message.startswith(f"{tmp_path}/1.png: ")
    assert (failure.reason, failure.content) == ("not_an_image", expected[10])
    good = understood(expected[0], tmp_path / "0.png")
    assert isinstance(good, media.Probe)
    assert good.content == expected[9]


def test_what_is_not_there_says_nothing_of_its_bytes(tmp_path: Path):
    task = images(tmp_path, 2)[0]
    (tmp_path / "0.png").unlink()
    (found,) = all_of(Workers(0, LIMITS, None), [task]).values()
    assert understood(found, tmp_path / "0.png") == Failure("absent", f"{tmp_path}/0.png: no such file", None)


def reasons(found: dict[int, str]) -> dict[int, str]:
    """Of those that failed."""
    read = {number: keeping.read(outcome, "it") for number, outcome in found.items()}
    return {number: what.reason for number, what in read.items() if isinstance(what, Failure)}


def test_a_worker_that_is_killed_from_outside_costs_nothing(tmp_path: Path):
    """As by a system that has no memory left: what it held is tried again, each by itself."""
    tasks = images(tmp_path, 40)
    pool = Workers(1, LIMITS, None)
    for number, task in enumerate(tasks):
        pool.give(number, task)
    found: dict[int, str] = {}
    while not found:
        found = dict(pool.outcomes())
    pid = pool._workers[0]._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while pool.busy:
        found |= dict(pool.outcomes())
    pool.close()
    assert sorted(found) == list(range(40))
    assert reasons(found) == {1: "not_an_image"}


@pytest.mark.parametrize("processes", [1, 2])
def test_an_item_that_kills_every_worker_is_left_out_and_the_others_are_not(tmp_path: Path, processes: int):
    tasks = images(tmp_path, 12)
    deadly = Deadly("deadly.png")
    tasks[3] = Task("probe", (storage.Blob(deadly, 0, 1, ""),), "image")
    pool = Workers(processes, LIMITS, None)
    found = all_of(pool, tasks)
    pool.close()
    assert sorted(found) == list(range(12))
    assert reasons(found) == {1: "not_an_image", 3: "crashed"}
    message = "deadly.png: decoding it ended the process (SIGSEGV)"
    assert keeping.read(found[3], deadly) == Failure("crashed", message, None)


class Deadly(str):
    """A path that ends the process that looks at it, as a decoder with a hole does."""

    __slots__ = ()

    def isprintable(self) -> bool:
        os.kill(os.getpid(), signal.SIGSEGV)
        return False


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
    assert processes
    pool.close()
    assert not any(process.is_alive() for process in processes)
