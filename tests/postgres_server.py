"""A PostgreSQL server on loopback for tests: a new database in a temporary folder, ended with the test."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

OWNER = "nobody"  # postgres refuses to run as root
PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def program(name: str) -> str | None:
    """Where a program of PostgreSQL is; distributions keep them off the path."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, PLACES)]))


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of an empty database, as asyncpg takes it; skips the test where there is no PostgreSQL."""
    if program("postgres") is None or program("initdb") is None:
        pytest.skip("no PostgreSQL here (Debian: apt install postgresql)")
    owner: dict[str, Any] = {}
    if os.getuid() == 0:
        owner = {"user": OWNER}
        for place in (folder, *folder.parents):
            if place.stat().st_uid == 0 and place != Path("/"):
                place.chmod(place.stat().st_mode | 0o011)
        os.chown(folder, pwd.getpwnam(OWNER).pw_uid, -1)
    data, port = folder / "data", free_port()
    made = [str(program("initdb")), "--auth", "trust", "--username", "frostline", "--no-sync", "-D", str(data)]
    subprocess.run(made, check=True, capture_output=True, cwd=folder, **owner)
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(folder), "-p", str(port)]
    with (folder.parent / "postgres.log").open("w") as log:
        server = subprocess.Popen(
            [str(program("postgres")), "-D", str(data), *settings], stdout=log, stderr=log, cwd=folder, **owner
        )
        try:
            until(lambda: answers(port), 60)
            yield f"postgresql+asyncpg://frostline@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
