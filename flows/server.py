"""Servers on this machine that end with the process that started them: Prefect's, for one flow or for its pages."""

import atexit
import base64
import contextlib
import json
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from flows import devices, process
from flows.errors import WrongUse
from flows.running import GPU

ANSWERING = 10.0  # seconds that a running server may take
UNCOUNTED = 64  # slots of a flow's own server where no GPU is: stages then compute on the CPU, as many as --jobs
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
        while not answers(self.health):
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


def answers(address: str) -> bool:
    """Whether a server on this machine answers, were it to ask who we are."""
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310 (an address on this machine)
            return True
    except urllib.error.HTTPError as error:
        return error.code == 401
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
        require_answering()
        yield
        return
    port = free_port()
    own = prefect(port)
    atexit.register(own.end)  # not earlier: Prefect sends its last logs while the interpreter ends
    own.wait()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        make_gpu_limit(len(devices.present()) or UNCOUNTED)
        yield


def require_answering() -> None:
    """Raise WrongUse unless PREFECT_API_URL is a Prefect server that takes our credentials."""
    settings = get_current_settings().api
    headers = {}
    if settings.auth_string is not None:
        word = base64.b64encode(settings.auth_string.get_secret_value().encode()).decode()
        headers["Authorization"] = f"Basic {word}"
    request = urllib.request.Request(f"{settings.url}/admin/version", headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=ANSWERING) as answer:  # noqa: S310 (what the user named)
            json.load(answer)
    except urllib.error.HTTPError as error:
        remedy = {
            401: "it refuses our credentials: set PREFECT_API_AUTH_STRING to what the server was started with",
            404: "there is no Prefect API at that address: it ends in /api",
        }.get(error.code, f"it answers {error}")
        raise WrongUse(f"PREFECT_API_URL={settings.url}: {remedy}") from None
    except (OSError, ValueError) as error:
        raise WrongUse(
            f"PREFECT_API_URL={settings.url}: no Prefect server answers there ({error}); start one with `make ui`, or "
            "unset the variable: the flow then starts its own"
        ) from None


def make_gpu_limit(slots: int) -> None:
    """Let the server have the concurrency limit that stages with GPUs hold slots of."""
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name=GPU, limit=slots)


def require_gpu_limit(stages: Iterable[str]) -> None:
    """Raise WrongUse if stages need GPU slots and the server has no limit that counts them."""
    if not (names := list(stages)):
        return
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(GPU)
        except ObjectNotFound:
            raise WrongUse(
                f"the Prefect server has no concurrency limit {GPU!r}, of which {', '.join(names)} would hold slots "
                f"(meta.prefect.gpus in dvc.yaml): `make schedule` makes it"
            ) from None


def require_free(port: int, option: str) -> None:
    """Raise ServerFailed if a port of this machine is taken."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ServerFailed(f"port {port} is taken, perhaps by another `make ui`; name another one with {option}")


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
