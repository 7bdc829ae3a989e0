"""A real S3 server for tests and benchmarks: OpenStack Swift, started and stopped on this machine.

It lives in an environment of its own, because it wants other packages than we do: ``python -m tests.object_store``
makes that, once, below the system's temporary folder. FROSTLINE_TEST_SWIFT names a python that has Swift elsewhere.
"""

import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

SWIFT = "swift==2.38.3"
SCRIPT = Path(__file__).with_name("swift_server.py")
CONSTRAINTS = Path(__file__).with_name("swift-constraints.txt")
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test:tester",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

Put = Callable[[str, bytes], None]


class Swift:
    """A server over a folder, which can be killed and started again over what it holds; as a context, it ends there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._ports = folder, _reserved()
        self.port = self._ports.getsockname()[1] + 1
        self.environment = ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}
        self.start()

    def start(self) -> None:
        """Start it; raises AssertionError, with what it said, if it does not."""
        log = self.folder.with_suffix(".log")
        with log.open("wb") as errors:
            command = [str(python()), str(SCRIPT), str(self.folder), str(self.port)]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            self.kill()
            raise AssertionError(f"swift did not start: {log.read_text()[-2000:]}")

    def __enter__(self) -> "Swift":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._ports.close()

    def kill(self) -> None:
        """End it at once; what it holds stays."""
        self.process.kill()
        self.process.communicate()


def ask(method: str, **arguments: Any) -> Any:
    """A request straight to the server, whatever stands before it."""
    import s3fs

    address = os.environ.get("FROSTLINE_TEST_S3") or os.environ["AWS_ENDPOINT_URL"]
    return s3fs.S3FileSystem(endpoint_url=address, use_listings_cache=False).call_s3(method, **arguments)


def uploads(bucket: str) -> list[str]:
    """Keys of what was begun to be sent and is not complete."""
    return [entry["Key"] for entry in ask("list_multipart_uploads", Bucket=bucket).get("Uploads", [])]


def keys(bucket: str) -> list[str]:
    """Of all objects."""
    return sorted(entry["Key"] for entry in ask("list_objects_v2", Bucket=bucket).get("Contents", []))


def python() -> Path:
    """The python that has Swift, or would."""
    named = os.environ.get("FROSTLINE_TEST_SWIFT")
    return Path(named) if named else _home() / "bin" / "python"


def _home() -> Path:
    return Path(tempfile.gettempdir()) / f"frostline-{SWIFT.replace('==', '-')}-{os.getuid()}"


def install() -> None:
    """Make the environment, if it is not there; exits with what pip said if it cannot be made."""
    home = _home()
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        sys.exit(f"{home}: belongs to somebody else; remove it, or name a python that has Swift: FROSTLINE_TEST_SWIFT")
    with (home / "lock").open("w") as lock:  # one at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (home / "made").exists():
            return
        venv.create(home, with_pip=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, "--constraint", str(CONSTRAINTS), "setuptools", SWIFT], check=False).returncode:
            (home / "bin" / "python").unlink()
            sys.exit(f"{SWIFT} could not be installed into {home}; tests against S3 are skipped")
        (home / "made").touch()


def _reserved() -> socket.socket:
    """Holds a port, as long as it is open, and with it the four behind it: a server needs its ports again when it comes
    back, and tests run beside each other."""
    for first in range(20_000 + 5 * (os.getpid() % 2_000), 32_000, 5):
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", first))
        except OSError:
            held.close()
            continue
        if all(_is_free(port) for port in range(first + 1, first + 5)):
            return held
        held.close()
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


if __name__ == "__main__":
    install()
