"""A real object store on this machine, as far away as one in a data centre: a relay stands before it."""

import contextlib
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.parts import synthetic_cache
from frostline import files
from frostline.caching import remote
from frostline.store.layout import MANIFEST
from frostline.store.locations import STORE

LATENCY, RATE = 0.03, 20e6  # seconds of a request, bytes a second of a connection
BUCKET = "caches"
AWAY = f"{LATENCY * 1e3:.0f} ms and {RATE / 1e6:.0f} MB/s a connection away"
NO_SERVER = "no Swift is installed: `make swift` installs it"


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[str | None]:
    """A prefix of a bucket that is far away; None where there is no server."""
    from tests import object_store

    if not object_store.python().exists():
        yield None
        return
    before = dict(os.environ)
    with object_store.Swift(folder / "swift") as server:
        here, there = multiprocessing.Pipe()
        relay = multiprocessing.get_context("fork").Process(target=_relay, args=(server.port, there), daemon=True)
        relay.start()
        try:
            os.environ.update(server.environment)
            object_store.ask("create_bucket", Bucket=BUCKET)
            os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{here.recv()}"
            yield f"s3://{BUCKET}/{folder.name}"
        finally:
            relay.kill()
            relay.join()
            os.environ.clear()
            os.environ.update(before)


def _relay(port: int, answer: "Connection[Any, Any]") -> None:
    from tests.relay import Relay

    relay = Relay(port)
    relay.latency, relay.rate = LATENCY, RATE
    answer.send(relay.port)
    relay._thread.join()


def moved(near: Path, far: Path, address: str) -> Path:
    """A cache's folder whose parts are at an address."""
    cache = near / synthetic_cache.NAME
    (far / synthetic_cache.NAME).mkdir(parents=True)
    shutil.copy(cache / MANIFEST, far / synthetic_cache.NAME / MANIFEST)
    remote.send(far / synthetic_cache.NAME, files.read_json(cache / MANIFEST)["parts"], cache, address)
    assert (far / synthetic_cache.NAME / STORE).exists()
    return far
