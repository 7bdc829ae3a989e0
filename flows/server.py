"""Servers on this machine that end with the process that started them: Prefect's, for one flow or for its pages."""

import atexit
import contextlib
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from flows import process

STARTING = 240.0  # seconds that a server may take to answer; on a busy machine it takes one minute


class ServerFailed(RuntimeError):
    """A server ended by itself or did not answer; the message holds its last lines."""


class Server:
    """`python -m MODULE ARGUMENT...` as a server; ``health`` is the address that answers once it is up."""

    def __init__(
        self, module: str, arguments: Sequence[str], health: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self.health = health
        self._name = module
        self._process = process.Process([sys.executable, "-m", module, *arguments], Path.cwd(), settings)
        self._last = deque[str](maxlen=process.TAIL)
        self._ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self) -> None:
        """Return once the server answers; raises ServerFailed."""
        deadline = time.monotonic() + STARTING
        while not self._answers():
            self.require_running()
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.health} did not answer within {STARTING:.0f} s")
            time.sleep(0.2)

    def require_running(self) -> None:
        """Raise ServerFailed if the server has ended."""
        if self._ended.is_set():
            raise ServerFailed(f"{self._name} ended by itself; its last lines:\n" + "\n".join(self._last))

    def end(self) -> None:
        """End it and everything it started."""
        self._process.end()

    def _read(self) -> None:
        self._last.extend(self._process.lines())
        self._ended.set()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.health, timeout=5):  # noqa: S310 (an address on this machine)
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False


def prefect(port: int) -> Server:
    """Start a Prefect server, pages included, on loopback."""
    words = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    api_url = f"http://127.0.0.1:{port}/api"
    return Server("prefect", words, f"{api_url}/health", {"PREFECT_SERVER_UI_API_URL": api_url})


@contextlib.contextmanager
def api() -> Iterator[None]:
    """Prefect's API for the body: the server that PREFECT_API_URL names, or one of our own.

    Prefect could start one itself, but a killed flow would leave that behind for ever.
    """
    if get_current_settings().api.url:
        yield
        return
    port = _free_port()
    own = prefect(port)
    atexit.register(own.end)  # not earlier: Prefect sends its last logs while the interpreter ends
    own.wait()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
