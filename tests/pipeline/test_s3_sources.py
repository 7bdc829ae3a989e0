"""A source behind s3:// as DVC sees it: listed at each run, read by nobody but the stage, and any change noticed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.object_store import Put, ask
from tests.relay import Relay

pytest_plugins = ["tests.servers"]

DVC_YAML = """\
stages:
  prepare:
    foreach: {media: {path: "s3://BUCKET/cats"}}
    do:
      cmd: echo ran
      deps: ["${item.path}"]
"""


@pytest.fixture
def repo(tmp_path: Path, bucket: str, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "none").touch()
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):  # DVC wants a file there
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML.replace("BUCKET", bucket))
    dvc(tmp_path, "init", "--no-scm")
    return tmp_path


def dvc(repo: Path, *words: str) -> str:
    command = [str(Path(sys.executable).with_name("dvc")), *words]
    done = subprocess.run(command, cwd=repo, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dvc_notices_what_changes_below_a_prefix_and_reads_no_object(repo: Path, bucket: str, put: Put, relay: Relay):
    for name in ("a.png", "sub/b.png"):
        put(f"cats/{name}", bytes(10**6))
    assert "Running stage 'prepare@media'" in dvc(repo, "repro")
    assert "up to date" in dvc(repo, "repro")
    put("cats/sub/b.png", b"another")
    put("cats/c.png", b"new")
    changed = dvc(repo, "repro")
    assert "Running stage 'prepare@media'" in changed
    ask("delete_object", Bucket=bucket, Key="cats/c.png")
    assert f"s3://{bucket}/cats" in dvc(repo, "status")
    assert relay.answered < 10**6
