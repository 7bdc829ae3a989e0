"""One operating-system process that runs one stage: its lines as they come, and how it is ended without loss."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from flows import leash

PROGRESS_EVERY = 10.0  # seconds between two lines of a progress bar, which redraws itself many times a second
TAIL = 40  # last lines of a failed process that its error repeats
GRACE = 60.0  # seconds that a stage has to save its work after SIGTERM


class Process:
    """A running command in a session of its own; it ends when this process ends, however that comes about."""

    def __init__(self, command: Sequence[str], cwd: Path, settings: Mapping[str, str] | None = None) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, leash.__file__, *command],
            cwd=cwd,
            env={**environment(), **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def lines(self) -> Iterator[str]:
        """Every line until the end, without its line break; of a progress bar one state in PROGRESS_EVERY seconds."""
        if self._popen.stdout is None:
            raise AssertionError("the process was started with a pipe")
        # newline="" keeps carriage returns, which tell a progress bar from a line
        with io.TextIOWrapper(self._popen.stdout, encoding="utf-8", errors="replace", newline="") as text:
            yield from _without_redrawing(text)

    def wait(self) -> int:
        """The exit code, once the process has ended."""
        return self._popen.wait()

    def stop(self, grace: float = GRACE) -> None:
        """Ask what the process started to end (SIGTERM), and end everything that is left after ``grace`` seconds.

        DVC dies of SIGTERM without telling the stage, and the stage with it: so the stage is asked; DVC sees it end.
        """
        try:
            process = psutil.Process(self._popen.pid)
            for target in process.children(recursive=True) or [process]:
                target.terminate()
        except psutil.NoSuchProcess:
            return
        reaper = threading.Timer(grace, self._kill)
        reaper.daemon = True
        reaper.start()

    def end_children(self, grace: float) -> None:
        """Ask the processes that it started itself to end (SIGTERM), and wait for that at most ``grace`` seconds."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._popen.pid).children()
            for child in children:
                child.terminate()
            psutil.wait_procs(children, grace)

    def end(self, grace: float = 10.0) -> None:
        """End the whole session: SIGTERM, and SIGKILL for what is left after ``grace`` seconds; waits for the end."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace)
        self._signal(signal.SIGKILL)
        self._popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def _kill(self) -> None:
        if self._popen.poll() is None:
            self._signal(signal.SIGKILL)


def environment() -> dict[str, str]:
    """The environment of a child: ours, but `python` is this interpreter."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _without_redrawing(text: Iterable[str]) -> Iterator[str]:
    shown = -PROGRESS_EVERY
    for raw in text:
        if raw.endswith("\r"):
            if time.monotonic() - shown < PROGRESS_EVERY:
                continue
            shown = time.monotonic()
        if line := raw.replace("\x1b[A", "").strip("\r\n"):
            yield line
