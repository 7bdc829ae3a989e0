"""Captions by a program of the user's: a process that is asked and answers, line by line."""

import collections
import contextlib
import json
import os
import queue
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any

from frostline import storage
from frostline.captioning import items
from frostline.captioning.items import Said, Uncaptioned
from frostline.errors import WrongUse
from frostline.media import probing
from frostline.media.kinds import Unusable
from frostline.params.sources import CommandCaptioner
from frostline.storage import Blob

PATIENCE = 600.0  # seconds without an answer after which a program hangs; the first answer waits for its model
AHEAD = 64  # lines a program may read before it answers
GRACE = 5.0  # seconds a program has to end after its last answer
LINE = 1 << 20  # bytes of an answer
NAME = 200  # characters of its command in messages
NOTES = 10  # last lines of its stderr that are shown


def captions(entries: Sequence[Uncaptioned], params: CommandCaptioner, root: str, work: Path) -> Said:
    """What the program says of each; "" too for what cannot be read.

    Raises WrongUse, with its last notes, if it cannot be started, ends early, hangs, or answers what was not asked.
    """
    work.mkdir(parents=True, exist_ok=True)
    waiting: dict[str, tuple[Uncaptioned, Path]] = {}
    with tempfile.TemporaryDirectory(prefix=".copies-", dir=work) as copies, _Program(params.command) as program:
        for number, entry in enumerate(entries):
            try:
                medium = entry.medium or probing.probe(entry.blobs, None, items.LIMITS, None).medium
                copy = Path(copies) / str(number)
                path = _on_disk(entry, medium, root, copy)
            except (Unusable, storage.Gone, storage.Changed):
                yield entry, ""
                continue
            program.ask({"id": entry.locator, "path": str(path.absolute()), "medium": medium})
            waiting[entry.locator] = entry, copy
            if len(waiting) == AHEAD:
                yield _answer(program, waiting)
        program.ask(None)
        while waiting:
            yield _answer(program, waiting)


def _on_disk(entry: Uncaptioned, medium: str, root: str, copy: Path) -> Path:
    """Where a program finds the medium: where it lies, or below ``copy``."""
    if all(blob.offset == 0 and not storage.is_remote(blob.path) for blob in entry.blobs):
        return Path(storage.join(root, entry.file) if medium == "frames" else entry.blobs[0].path)
    copy.mkdir()
    if medium != "frames":
        return _copied(entry.blobs[0], copy / f"medium{PurePosixPath(entry.locator).suffix}")
    for number, blob in enumerate(entry.blobs):
        _copied(blob, copy / f"{number:06d}{PurePosixPath(blob.path).suffix}")
    return copy


def _copied(blob: Blob, path: Path) -> Path:
    with blob.open() as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    return path


def _answer(program: "_Program", waiting: dict[str, tuple[Uncaptioned, Path]]) -> tuple[Uncaptioned, str]:
    line = program.answer()
    try:
        said = json.loads(line)
        json.dumps(said, ensure_ascii=False).encode()
    except ValueError:
        raise program.wrong(
            f"printed a line that is not JSON in UTF-8: {_shown(line)}; notes belong on stderr"
        ) from None
    if not isinstance(said, dict) or said.keys() != {"id", "caption"} or not isinstance(said["caption"], str):
        raise program.wrong(f'answered {_shown(line)}, not {{"id": ..., "caption": "..."}}')
    if not isinstance(said["id"], str) or said["id"] not in waiting:
        raise program.wrong(f"answered the id {said['id']!r}, which it was not asked, or answered before")
    entry, copy = waiting.pop(said["id"])
    shutil.rmtree(copy, ignore_errors=True)
    return entry, said["caption"].strip()


def _shown(line: bytes) -> str:
    return repr(line[:200].decode("utf-8", "replace"))


class _Program:
    """A running program that is asked and answers, line by line; its pipes are served by threads, so none can block."""

    def __init__(self, command: Sequence[str]) -> None:
        """Raises WrongUse if it cannot be started."""
        self._name = f"captioner `{' '.join(shlex.join(command).split())[:NAME]}`"
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            self._process = subprocess.Popen(list(command), start_new_session=True, **pipes)
        except (OSError, ValueError) as error:
            raise WrongUse(
                f"{self._name}: cannot be started ({error}); correct captioner.command in params.yaml"
            ) from None
        self._questions: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._notes: collections.deque[bytes] = collections.deque(maxlen=NOTES)
        self._speaking = _thread(self._speak, self._process.stdin)
        self._hearing = _thread(self._hear, self._process.stdout)
        self._noting = _thread(self._note, self._process.stderr)

    def ask(self, question: dict[str, str] | None) -> None:
        """Send one line, or after the last one the end."""
        line = None if question is None else f"{json.dumps(question, ensure_ascii=False)}\n".encode()
        self._questions.put(line)

    def answer(self) -> bytes:
        """The next line it says; raises WrongUse if there is none."""
        try:
            line = self._answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise self.wrong(f"gave no answer for {PATIENCE:g} s (it may read {AHEAD} lines ahead, no more)") from None
        if not line:
            raise self.wrong(f"{self._ended()} before it had answered everything")
        if not line.endswith(b"\n"):
            raise self.wrong(f"printed a line without an end, or of more than {LINE} bytes: {_shown(line)}")
        return line

    def wrong(self, what: str) -> WrongUse:
        """The error to raise, with the last notes."""
        self._kill()
        self._noting.join(GRACE)
        notes = b"".join(self._notes).decode("utf-8", "replace").strip()
        heard = f"its last notes:\n{notes}" if notes else "it left no notes on stderr"
        return WrongUse(f"{self._name}: {what}; what it said before is kept, run again to go on; {heard}")

    def __enter__(self) -> "_Program":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
        self._kill()
        self.ask(None)
        self._process.wait()
        for thread in (self._speaking, self._hearing, self._noting):
            thread.join(GRACE)

    def _ended(self) -> str:
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "closed its stdout"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _kill(self) -> None:
        """End it and whatever it started, if it has not ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _speak(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError), pipe:  # its end is noticed where its answers are awaited
            while (line := self._questions.get()) is not None:
                pipe.write(line)
                pipe.flush()

    def _hear(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(LINE):
                self._answers.put(line)
        self._answers.put(b"")

    def _note(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(LINE):
                self._notes.append(line)


def _thread(target: Callable[[IO[bytes]], None], pipe: IO[bytes] | None) -> threading.Thread:
    thread = threading.Thread(target=target, args=(pipe,), daemon=True)
    thread.start()
    return thread
