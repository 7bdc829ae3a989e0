"""Processes that look at media: a file that brings its decoder down costs itself alone.

A task is the digest of a medium's bytes, or a probe; its outcome is that digest, or a line of keeping.py. Tasks go to
a worker in small groups and come back together. When a worker dies, what it had not answered is given out again, each
task by itself: the one that kills a worker then is left out as crashed.
With no processes at all tasks are done where they are asked for.
"""

import collections
import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Literal

from frostline import digests, workspace
from frostline.errors import FrostlineError, Refused
from frostline.media import keeping, kinds
from frostline.media.keeping import Failure
from frostline.media.kinds import Medium, Unusable
from frostline.media.probing import Limits, probe
from frostline.media.scenes import Scenes
from frostline.storage import Blob

TOGETHER = 8  # tasks in a group
BYTES_TOGETHER = 1 << 20
AHEAD = 2  # groups given to a worker at once: one to do, one to go on with

Plain = tuple[str, tuple[tuple[str, int, int, str], ...], Medium | None]  # a task on the line


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done with one medium."""

    wanted: Literal["content", "probe"]
    blobs: tuple[Blob, ...]
    medium: Medium | None


def content(blobs: Sequence[Blob], medium: Medium | None) -> str:
    """The digest of a medium's bytes, as a probe has it."""
    found = [_digest(blob) for blob in blobs]
    return digests.of_json(found) if medium == "frames" or len(found) != 1 else found[0]


def do(task: Task, limits: Limits, scenes: Scenes | None) -> str:
    """Do a task here."""
    where = keeping.place(task.blobs, task.medium)
    try:
        if task.wanted == "content":
            return content(task.blobs, task.medium)
        return keeping.text(probe(task.blobs, task.medium, limits, scenes), where)
    except Unusable as error:
        lasting = error.reason != kinds.OUT_OF_MEMORY  # there may be more of it next time
        return keeping.text(Failure(error.reason, str(error), _content_of_unusable(task) if lasting else None), where)
    except MemoryError:
        error = kinds.out_of_memory(where)
        return keeping.text(Failure(error.reason, str(error), None), where)


class Workers:
    """Processes that do tasks; ``close`` ends them."""

    def __init__(self, processes: int, limits: Limits, scenes: Scenes | None) -> None:
        self._most, self._limits, self._scenes = processes, limits, scenes
        self._waiting: collections.deque[tuple[int, Task]] = collections.deque()
        self._suspects: collections.deque[tuple[int, Task]] = collections.deque()
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> bool:
        """Is any task not answered?"""
        return bool(self._waiting or self._suspects) or any(worker.given for worker in self._workers)

    def give(self, number: int, task: Task) -> None:
        """Ask for a task; its outcome comes under this number."""
        self._waiting.append((number, task))
        if self._most and len(self._waiting) >= TOGETHER:
            self._hand_out()

    def outcomes(self) -> list[tuple[int, str]]:
        """What has been answered, waiting for something at least; raises what a task raised."""
        if self._most == 0:
            number, task = self._waiting.popleft()
            return [(number, do(task, self._limits, self._scenes))]
        self._hand_out()
        lines: dict[Any, _Worker] = {worker.line: worker for worker in self._workers if worker.given}
        found: list[tuple[int, str]] = []
        for line in connection.wait(list(lines)):
            found += self._answers(lines[line])
        self._hand_out()
        return found

    def close(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.line.close()
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _hand_out(self) -> None:
        """Give groups to those with least to do; start a worker where all have something."""
        while self._waiting or self._suspects:
            worker = min(self._workers, key=lambda worker: len(worker.given), default=None)
            if (worker is None or worker.given) and len(self._workers) < self._most:
                worker = _Worker(self._limits, self._scenes)
                self._workers.append(worker)
            if worker is None or len(worker.given) >= AHEAD or (self._suspects and worker.given):
                return
            worker.give([self._suspects.popleft()] if self._suspects else self._group())

    def _group(self) -> list[tuple[int, Task]]:
        group, size = [self._waiting.popleft()], 0
        while self._waiting and len(group) < TOGETHER:
            size += sum(blob.size for blob in group[-1][1].blobs)
            if size > BYTES_TOGETHER:
                break
            group.append(self._waiting.popleft())
        return group

    def _answers(self, worker: "_Worker") -> list[tuple[int, str]]:
        try:
            return worker.answers()
        except (EOFError, ConnectionError):
            self._workers.remove(worker)
            how = worker.end()
            if not worker.ready:
                raise Refused(f"a process that decodes media ended before its first task ({how}); run again") from None
            unanswered = [each for group in worker.given for each in group]
            if len(unanswered) > 1:
                self._suspects.extend(unanswered)
                return []
            return [(number, _crash(task, how)) for number, task in unanswered]


class _Worker:
    """One process, and the groups of tasks it has not answered, in their order."""

    def __init__(self, limits: Limits, scenes: Scenes | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, limits, scenes), daemon=True)
        self._process.start()
        theirs.close()
        self.given: collections.deque[list[tuple[int, Task]]] = collections.deque()
        self.ready = False

    def give(self, group: list[tuple[int, Task]]) -> None:
        """Send a group once the process is ready."""
        self.given.append(group)
        if self.ready:
            self._send(group)

    def answers(self) -> list[tuple[int, str]]:
        """What has come: first a word that it is ready, then outcomes, group by group."""
        found: list[tuple[int, str]] = []
        while self.line.poll():
            try:
                said = self.line.recv()
            except (EOFError, ConnectionError):
                if found:
                    return found  # the line will say so again
                raise
            if not self.ready:
                self.ready = True
                for group in self.given:
                    self._send(group)
            elif isinstance(said, BaseException):
                raise said
            else:
                numbers = [number for number, _ in self.given.popleft()]
                found += zip(numbers, said, strict=True)
        return found

    def end(self) -> str:
        """End the process and say how it ended."""
        self.line.close()
        self._process.join(timeout=0.2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _send(self, group: list[tuple[int, Task]]) -> None:
        try:
            self.line.send([_plain(task) for _, task in group])
        except ConnectionError:  # it has died: reading from it says so too
            return


def _serve(line: "connection.Connection", limits: Limits, scenes: Scenes | None) -> None:
    """Answer groups of tasks until the line is closed."""
    workspace.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line.send("ready")
    while True:
        try:
            group: list[Plain] = line.recv()
        except EOFError:
            return
        try:
            outcomes = [do(_task(plain), limits, scenes) for plain in group]
        except FrostlineError as error:
            line.send(error)
            return
        line.send(outcomes)


def _plain(task: Task) -> Plain:
    blobs = tuple((blob.path, blob.offset, blob.size, blob.stamp) for blob in task.blobs)
    return task.wanted, blobs, task.medium


def _task(plain: Plain) -> Task:
    wanted, blobs, medium = plain
    return Task("probe" if wanted == "probe" else "content", tuple(Blob(*blob) for blob in blobs), medium)


def _crash(task: Task, how: str) -> str:
    where = keeping.place(task.blobs, task.medium)
    return keeping.text(Failure("crashed", f"{where}: decoding it ended the process ({how})", None), where)


def _digest(blob: Blob) -> str:
    with kinds.opened(blob) as opened:
        return kinds.digest(opened)


def _content_of_unusable(task: Task) -> str | None:
    """The digest of bytes that will be as unusable next time; None where they could not be read."""
    try:
        return content(task.blobs, task.medium)
    except (Unusable, OSError):
        return None
