"""A toy project with a Prefect server and a worker of its own, in processes that a measurement may kill.

Names:  served  a folder with clone, server and worker; all ends with the context
        started a process and all that it has started, by their ids
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from flows import server

WAITING = 240.0  # seconds
POLL = 0.05
PARTS = ("server", "worker", "flow")


class Slow(RuntimeError):
    """What had to happen did not happen in time."""


class Served:
    """A project of its own with what runs it."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.port = server.free_port()
        self.address = f"http://127.0.0.1:{self.port}/api"
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(project.parent / "prefect"),
            "PREFECT_API_URL": self.address,
            "PYTHONPATH": str(Path.cwd()),
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (project.parent / "served.log").open("ab")

    def start_server(self) -> None:
        """A Prefect server that answers."""
        words = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self._start("server", ["-m", *words])
        until(lambda: server.answers(f"{self.address}/health"))

    def start_worker(self, name: str = "worker", pool: str = "cpu", limit: int = 4) -> None:
        """A worker of the project."""
        self._start(name, ["-m", "flows.worker", pool, "--limit", str(limit)])

    def start_flow(self, *words: str) -> subprocess.Popen[bytes]:
        """The flow, typed."""
        return self._start("flow", ["-m", "flows.pipeline", *words])

    def run(self, *words: str) -> str:
        """A command of Python to its end."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def kill(self, name: str, number: signal.Signals) -> list[psutil.Process]:
        """Send a signal to one part; all that it had started until then, itself included."""
        process = self.processes.pop(name)
        found = family(process.pid)
        process.send_signal(number)
        return found

    def end(self) -> None:
        """End all parts."""
        for process in self.processes.values():
            for one in family(process.pid):
                with_grace(one)
            process.wait()
        self._log.close()

    def _start(self, name: str, words: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.project,
            env=self.environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self.processes[name] = process
        return process


@contextmanager
def serving(project: Path, *, worker: bool = True) -> Iterator[Served]:
    """Server, deployments and worker of a project."""
    served = Served(project)
    try:
        served.start_server()
        served.run("-m", "flows.schedule")
        if worker:
            served.start_worker()
        yield served
    finally:
        served.end()


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it has started; none if it is gone."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def alive(process: psutil.Process) -> bool:
    """Whether it runs still."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def with_grace(process: psutil.Process) -> None:
    """Kill it, if it is there."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def until(condition: Callable[[], Any], seconds: float = WAITING) -> Any:
    """The first answer that is true; raises Slow."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise Slow(f"it did not happen within {seconds:g} s")
        time.sleep(POLL)
    return answer
