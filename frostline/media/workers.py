"""Processes that look at media: a file that brings its decoder down costs itself alone.

A task is the digest of a medium's bytes, or a probe. Each worker has a line of its own to the parent and answers its
tasks in their order; so when a worker dies, the first task that it did not answer is the one that killed it.
With no processes at all tasks are done where they are asked for.
"""

import collections
import functools
import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Literal

from frostline import digests, workspace
from frostline.errors import FrostlineError, Refused
from frostline.media import kinds
from frostline.media.kinds import Medium, Unusable
from frostline.media.probing import Limits, Probe, probe
from frostline.media.scenes import Scenes
from frostline.storage import Blob

AHEAD = 2  # tasks given to a worker at once: one to do, one to go on with


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done with one medium."""

    wanted: Literal["content", "probe"]
    blobs: tuple[Blob, ...]
    medium: Medium | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A medium that cannot be taken."""

    reason: str
    message: str
    content: str | None  # digest of its bytes, where they say so themselves and would again


Outcome = str | Probe | Failure  # a digest, a probe


def content(blobs: Sequence[Blob], medium: Medium | None) -> str:
    """The digest of a medium's bytes, as a probe has it."""
    found = [_digest(blob) for blob in blobs]
    return digests.of_json(found) if medium == "frames" or len(found) != 1 else found[0]


def do(task: Task, limits: Limits, scenes: Scenes | None) -> Outcome:
    """Do a task here."""
    try:
        if task.wanted == "content":
            return content(task.blobs, task.medium)
        return probe(task.blobs, task.medium, limits, scenes)
    except Unusable as error:
        return Failure(error.reason, str(error), _content_of_unusable(task))
    except MemoryError:
        return Failure("crashed", "there is not enough memory to decode it", None)


class Workers:
    """Processes that do tasks; ``close`` ends them."""

    def __init__(self, processes: int, limits: Limits, scenes: Scenes | None) -> None:
        self._most, self._limits, self._scenes = processes, limits, scenes
        self._waiting: collections.deque[tuple[int, Task]] = collections.deque()
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> bool:
        """Is any task not answered?"""
        return bool(self._waiting) or any(worker.given for worker in self._workers)

    def give(self, number: int, task: Task) -> None:
        """Ask for a task; its outcome comes under this number."""
        self._waiting.append((number, task))
        if self._most:
            self._hand_out()

    def outcomes(self) -> list[tuple[int, Outcome]]:
        """What has been answered, waiting for one task at least; raises what a task raised."""
        if self._most == 0:
            number, task = self._waiting.popleft()
            return [(number, do(task, self._limits, self._scenes))]
        self._hand_out()
        lines: dict[Any, _Worker] = {worker.line: worker for worker in self._workers if worker.given}
        found: list[tuple[int, Outcome]] = []
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
        """Give waiting tasks to those with least to do; start a worker where all have something."""
        while self._waiting:
            worker = min(self._workers, key=lambda worker: len(worker.given), default=None)
            if (worker is None or worker.given) and len(self._workers) < self._most:
                worker = _Worker(self._limits, self._scenes)
                self._workers.append(worker)
            if worker is None or len(worker.given) >= AHEAD:
                return
            worker.give(*self._waiting.popleft())

    def _answers(self, worker: "_Worker") -> list[tuple[int, Outcome]]:
        try:
            return worker.answers()
        except (EOFError, ConnectionError):
            self._workers.remove(worker)
            how = worker.end()
            if not worker.ready:
                raise Refused(f"a process that decodes media ended before its first task ({how}); run again") from None
            (number, _), *others = worker.given
            self._waiting.extendleft(reversed(others))
            return [(number, Failure("crashed", f"decoding it ended the process ({how})", None))]


class _Worker:
    """One process, and the tasks it has not answered, in their order."""

    def __init__(self, limits: Limits, scenes: Scenes | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, limits, scenes), daemon=True)
        self._process.start()
        theirs.close()
        self.given: collections.deque[tuple[int, Task]] = collections.deque()
        self.ready = False

    def give(self, number: int, task: Task) -> None:
        self.given.append((number, task))
        if self.ready:
            self._send(task)

    def answers(self) -> list[tuple[int, Outcome]]:
        """What has come: first a word that it is ready, then an outcome for each task."""
        found: list[tuple[int, Outcome]] = []
        while self.line.poll():
            try:
                said = self.line.recv()
            except (EOFError, ConnectionError):
                if found:
                    return found  # the line will say so again
                raise
            if not self.ready:
                self.ready = True
                for _, task in self.given:
                    self._send(task)
            elif isinstance(said, BaseException):
                raise said
            else:
                found.append((self.given.popleft()[0], said))
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

    def _send(self, task: Task) -> None:
        try:
            self.line.send(task)
        except ConnectionError:  # it has died: reading from it says so too
            return


def _serve(line: "connection.Connection", limits: Limits, scenes: Scenes | None) -> None:
    """Answer tasks until the line is closed."""
    workspace.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line.send("ready")
    act = functools.partial(do, limits=limits, scenes=scenes)
    while True:
        try:
            task = line.recv()
        except EOFError:
            return
        try:
            outcome = act(task)
        except FrostlineError as error:
            line.send(error)
            return
        line.send(outcome)


def _digest(blob: Blob) -> str:
    with kinds.opened(blob) as opened:
        return kinds.digest(opened)


def _content_of_unusable(task: Task) -> str | None:
    """The digest of bytes that will be as unusable next time; None where they could not be read."""
    try:
        return content(task.blobs, task.medium)
    except (Unusable, OSError):
        return None
