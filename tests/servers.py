"""Real servers for tests marked slow: started once a session on this machine, stopped at its end.

Swift lives in an environment of its own, because it wants other packages than we do: made once, below the system's
temporary folder, or where FROSTLINE_TEST_SWIFT names a python that has it. Where it cannot be made, these tests are
skipped with the reason.
"""

import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

SWIFT = "swift==2.38.3"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test:tester",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an S3 server: user test:tester, secret testing."""
    python, port = _python(), _free_ports(4)
    script = Path(__file__).with_name("swift_server.py")
    log = tmp_path_factory.mktemp("swift") / "log"
    with log.open("wb") as errors:
        command = [str(python), str(script), str(log.parent / "data"), str(port)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert server.stdout is not None
            if server.stdout.readline() != b"ready\n":
                pytest.fail(f"swift did not start: {log.read_text()[-2000:]}")
            yield port
        finally:
            server.kill()
            server.communicate()


@pytest.fixture
def s3(swift: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 server, with credentials for it in the environment."""
    from s3fs import S3FileSystem

    address = f"http://127.0.0.1:{swift}"
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": address}).items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    yield address
    S3FileSystem.clear_instance_cache()


def _python() -> Path:
    """A python that has swift; skips where there is none and none can be made."""
    if named := os.environ.get("FROSTLINE_TEST_SWIFT"):
        return Path(named)
    home = Path(tempfile.gettempdir()) / f"frostline-{SWIFT.replace('==', '-')}-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    python = home / "bin" / "python"
    with (home / "lock").open("w") as lock:  # other test processes wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "made").exists():
            venv.create(home, with_pip=True)
            made = subprocess.run(
                [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "setuptools<81", SWIFT],
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode:
                pytest.skip(f"{SWIFT} cannot be installed with {sys.executable}: {made.stderr.strip()[-300:]}")
            (home / "made").touch()
    return python


def _free_ports(count: int) -> int:
    """The first of some ports in a row that nobody listens at."""
    for first in range(20_000 + os.getpid() % 10_000, 40_000, count):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
