import json
import os
import subprocess
import sys

import pytest

from frostline.errors import WrongUse
from frostline.wan import fetching, gathering
from tests.servers import bucket, put, s3, swift
from tests.unit.wan import folders, hub

__all__ = ["bucket", "put", "s3", "swift"]

NAME = "someone/small"
COMMAND = [sys.executable, "-c", "from frostline.cli import main; main()", "fetch"]


@pytest.fixture
def model(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base)
    (root / "assets").mkdir()
    (root / "assets" / "picture.png").write_bytes(b"large")
    (root / "README.md").write_text("words")
    return root


def run(address, *arguments):
    environment = {**os.environ, "HF_ENDPOINT": address}
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_the_hub(tmp_path, model, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    asked: list[str] = []
    folder = tmp_path / "base"
    with hub.serving(model, NAME, asked) as address:
        done = run(address, NAME, str(folder), "--revision", "main", "--json")
        assert done.returncode == 0, done.stderr
        absent = run(address, "someone/none", str(tmp_path / "other"))
    made = json.loads(done.stdout)
    assert (made["source"], made["revision"]) == (NAME, hub.COMMIT)
    assert made["files"] == fetching.fetch(str(model), tmp_path / "same").files
    assert not any("assets" in path or "README" in path for path in asked)
    assert not list(tmp_path.glob(".fetching-*"))
    assert absent.returncode == 2
    assert "someone/none: the hub did not give it" in absent.stderr
    again = run("http://127.0.0.1:1", NAME, str(folder))  # what is here needs no hub
    assert (again.returncode, again.stdout) == (0, done_line(folder, made))


def done_line(folder, made):
    known = "no published model by its shape, so its own configurations hold"
    return f"{folder}: {NAME} at {hub.COMMIT}, {known}; {len(made['files'])} files pinned\n"


def test_an_object_store(tmp_path, model, bucket, put):
    for path in sorted(model.rglob("*")):
        if path.is_file():
            put(f"models/small/{path.relative_to(model)}", path.read_bytes())
    made = fetching.fetch(f"s3://{bucket}/models/small", tmp_path / "base")
    assert made.files == fetching.fetch(str(model), tmp_path / "same").files
    with pytest.raises(WrongUse, match="no objects below"):
        gathering.gather(f"s3://{bucket}/models/none", tmp_path / "work")


def test_a_revision_of_what_has_none(tmp_path, model):
    with pytest.raises(WrongUse, match="has no revisions"):
        gathering.gather(str(model), tmp_path / "work", revision="main")


def test_parts_are_written_role_first(tmp_path, model):
    done = run("", str(model), str(tmp_path / "base"), "--part", "image_encoder=file.safetensors")
    assert done.returncode == 2
    assert "write ROLE=FILE with one of transformer, transformer_2, vae, text_encoder" in done.stderr
