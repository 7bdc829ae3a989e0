"""Stages on a worker with a clone of its own: a real S3 server, Prefect on PostgreSQL with its API's password on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from flows import server
from tests import postgres_server, toy_project
from tests.object_store import Swift, ask
from tests.toy_project import DVC, git
from tests.waiting import until

pytest_plugins = ["tests.servers"]
pytestmark = pytest.mark.slow
SECRET = "somebody:a password"  # noqa: S105
PIPELINE = [sys.executable, "-m", "flows.pipeline", "--spread", "--jobs", "4"]
MINUTES = 300


@dataclass
class Place:
    """Two clones that share git's remote, DVC's remote, and a Prefect server."""

    main: Path
    other: Path
    environment: dict[str, str]

    def run(self, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=folder or self.main,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=MINUTES,
            check=False,
        )

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        with (self.other.parent / "worker.log").open("ab") as log:
            command = [sys.executable, "-m", "flows.worker", "gpu"]
            process = subprocess.Popen(command, cwd=self.other, env=self.environment, stdout=log, stderr=log)
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                process.wait(120)


@pytest.fixture
def place(tmp_path: Path, swift: Swift) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in swift.environment.items():
            patch.setenv(name, value)
        ask("create_bucket", Bucket="placing")
    first = toy_project.make(tmp_path / "first")
    subprocess.run([*DVC, "remote", "add", "--default", "store", "s3://placing/dvc"], cwd=first, check=True)
    toy_project.commit(first, "remote")
    origin = tmp_path / "origin.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(first), str(origin)], check=True)
    for name in ("main", "other"):
        subprocess.run(["git", "clone", "--quiet", str(origin), str(tmp_path / name)], check=True)
    git(tmp_path / "main", "config", "user.name", "somebody")
    git(tmp_path / "main", "config", "user.email", "somebody@localhost")
    (tmp_path / "database").mkdir()
    with postgres_server.serving(tmp_path / "database") as database:
        port = postgres_server.free_port()
        told = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_API_AUTH_STRING": SECRET,
            "PREFECT_API_AUTH_STRING": SECRET,
            "PREFECT_HOME": str(tmp_path / "prefect"),
        }
        words = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        prefect = server.Server("prefect", words, f"http://127.0.0.1:{port}/api/health", told)
        try:
            prefect.wait()
            (tmp_path / "no-aws-config").touch()  # DVC wants the file that is named to be one
            quiet = {"AWS_CONFIG_FILE": str(tmp_path / "no-aws-config")}
            environment = {**os.environ, **swift.environment, **quiet}
            environment |= {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
            environment |= {"PREFECT_API_AUTH_STRING": SECRET, "PREFECT_HOME": str(tmp_path / "prefect")}
            yield Place(tmp_path / "main", tmp_path / "other", environment)
        finally:
            prefect.end()


def test_stages_run_in_the_worker_s_clone_and_come_out_the_same_even_when_it_is_killed(place: Place, tmp_path: Path):
    refused = place.run(*PIPELINE)
    assert refused.returncode == 2, refused.stdout
    assert "limit 'gpu'" in refused.stdout
    deployed = place.run(sys.executable, "-m", "flows.schedule")
    assert deployed.returncode == 0, deployed.stdout

    with place.worker():
        done = place.run(*PIPELINE)
    assert done.returncode == 0, done.stdout[-4000:]
    assert (place.other / "left.log").exists()
    assert (place.other / "right.log").exists()
    assert not (place.main / "left.log").exists()
    assert (place.main / "left.txt").read_text() == "lefta\n"
    assert git(place.main, "branch", "--format=%(refname)").split() == ["refs/heads/main"]
    alone = subprocess.run(["git", "clone", "--quiet", str(place.main), str(tmp_path / "alone")], check=True)
    assert alone.returncode == 0
    subprocess.run([*DVC, "repro", "--quiet"], cwd=tmp_path / "alone", check=True)
    assert (tmp_path / "alone" / "dvc.lock").read_bytes() == (place.main / "dvc.lock").read_bytes()

    toy_project.with_params(place.main, seconds=10, text="b")
    running = subprocess.Popen(PIPELINE, cwd=place.main, env=place.environment)
    try:
        with place.worker() as worker:
            until(lambda: any(says(one, "sleep 10") for one in below(worker.pid)), 200)
            started = below(worker.pid)
            worker.kill()
            until(lambda: not any(alive(one) for one in started), 5)
        with place.worker():
            assert running.wait(MINUTES) == 0
    finally:
        running.kill()
    assert (place.main / "left.txt").read_text() == "leftb\n"
    assert (place.main / "right.txt").read_text() == "rightb\n"
    assert not (place.main / "left.log").exists()


def below(pid: int) -> list[psutil.Process]:
    """What a process has started, and those have."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def says(process: psutil.Process, words: str) -> bool:
    try:
        return words in " ".join(process.cmdline())
    except psutil.Error:
        return False


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
