"""`python -m stages.prepare` as DVC runs it: a manifest, or one line that says what is wrong and nothing written."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from frostline import manifest, media
from tests import neutral, stage_process
from tests.stage_process import refused

PARAMS = Path(__file__).parents[2] / "params.yaml"
Prepare = Callable[..., stage_process.Finished]
FOLDER = neutral.section("media", "imagefolder", buckets=[[1, 16, 16]])


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Runs the stage on a source of the given params in an empty project."""

    def run(source: dict[str, Any], *options: str, name: str = "mine") -> stage_process.Finished:
        values = yaml.safe_load(PARAMS.read_text()) | {"sources": {"mine": source}}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
        return stage_process.run(tmp_path, "prepare", name, "--manifest", f"data/manifest/{name}", *options)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images with captions."""
    lines = [{"file_name": f"{n}.png", "text": f"picture {n}"} for n in range(3)]
    for n in range(3):
        media.write_png(tmp_path / "media" / f"{n}.png", np.full((20, 24, 3), 80 * n, np.uint8))
    (tmp_path / "media" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path / "media"


def test_a_folder_becomes_a_manifest_the_same_each_time(prepare: Prepare, folder: Path, tmp_path: Path):
    written = tmp_path / "data" / "manifest" / "mine"
    result = prepare(FOLDER)
    assert (result.returncode, result.stderr) == (0, "")
    assert "mine: 1x16x16 3 train, 0 validation, 0 test" in result.stdout
    assert "mine: 3 rows of 3 items, 0 left out" in result.stdout
    assert [row.captions for row in manifest.read(written)] == [("picture 0",), ("picture 1",), ("picture 2",)]
    before = {path.name: path.read_bytes() for path in written.iterdir()}
    assert prepare(FOLDER | {"path": str(folder)}).returncode == 0  # an absolute path
    assert {path.name: path.read_bytes() for path in written.iterdir()} == before
    assert [path.name for path in written.parent.iterdir()] == ["mine"]


def test_one_process_and_many_new_and_known_write_the_same(prepare: Prepare, folder: Path, tmp_path: Path):
    (folder / "2.png").write_bytes(b"no picture")
    source = FOLDER | {"max_rejected": 0.5}
    written: list[dict[str, bytes]] = []
    for options in (("--processes", "1"), ("--processes", "3"), ("--verify",)):
        assert prepare(source, *options, "--sheets", "data/sheets/mine").returncode == 0
        files = [file for kind in ("manifest", "sheets") for file in (tmp_path / "data" / kind / "mine").iterdir()]
        written.append({file.name: file.read_bytes() for file in files})
    assert written[0] == written[1] == written[2]
    sheet = json.loads(written[0]["sheets.json"])
    assert [row["locator"] for row in sorted(sheet["rows"], key=lambda row: row["locator"])] == ["0.png", "1.png"]
    assert (tmp_path / ".work" / "probes" / "mine.sqlite").is_file()
    result = prepare(source, "--processes", "0")
    assert (result.returncode, "give 1 or more" in result.stderr) == (2, True)


def test_captions_alone_become_rows_without_media(prepare: Prepare, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    source = {"kind": "prompts", "path": "prompts.txt", "split": neutral.SPLIT}
    result = prepare(source, "--sheets", "data/sheets/mine")
    assert (result.returncode, result.stderr) == (0, "")
    assert "mine: prompts 2 train, 0 validation, 0 test" in result.stdout


def test_the_default_digits_fill_all_splits(prepare: Prepare, tmp_path: Path):
    source = yaml.safe_load(PARAMS.read_text())["sources"]["digits"]
    assert (PARAMS.parent / source["path"]).is_file()
    assert prepare(source | {"draws": source["draws"][:1]}).returncode == 0
    summary = json.loads((tmp_path / "data" / "manifest" / "mine" / "manifest.json").read_text())
    times = source["draws"][0]["per_scan"]
    assert summary["splits"] == {"train": 1257 * times, "validation": 180 * times, "test": 360 * times}


def test_what_is_left_out_is_printed_and_counted(prepare: Prepare, folder: Path, tmp_path: Path):
    (folder / "2.png").write_bytes(b"no picture")
    result = prepare(FOLDER | {"max_rejected": 0.5})
    assert result.returncode == 0
    assert "left out (not_an_image): 2.png" in result.stderr
    assert "1 left out" in result.stdout
    (left_out,) = manifest.read_rejected(tmp_path / "data" / "manifest" / "mine")
    assert (left_out.locator, left_out.reason) == ("2.png", "not_an_image")


CAPTIONER = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    print(asked["id"], asked["medium"], file=open("asked.txt", "a"))
    if asked["id"] == "2.png" and os.path.exists("dies"):
        sys.exit("no memory left")
    print(json.dumps({"id": asked["id"], "caption": "seen: " + asked["id"]}), flush=True)
"""


def test_a_captioner_fills_what_is_missing_and_goes_on_after_it_died(prepare: Prepare, folder: Path, tmp_path: Path):
    (folder / "metadata.jsonl").write_text('{"file_name": "1.png", "text": "picture 1"}')

    source = FOLDER | {"captioner": {"command": [sys.executable, "-c", CAPTIONER]}}
    (tmp_path / "dies").touch()
    refused(prepare(source), 2, "captioner `", "exit code 1")
    assert (tmp_path / "asked.txt").read_text() == "0.png image\n2.png image\n"
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data" / "manifest").iterdir())
    (tmp_path / "dies").unlink()
    for _ in range(2):
        assert prepare(source).returncode == 0
        rows = manifest.read(tmp_path / "data" / "manifest" / "mine")
        assert [row.captions for row in rows] == [("seen: 0.png",), ("picture 1",), ("seen: 2.png",)]
    assert (tmp_path / "asked.txt").read_text().split()[::2] == ["0.png", "2.png", "2.png"]


def test_a_refusal_leaves_the_manifest_of_before(prepare: Prepare, folder: Path, tmp_path: Path):
    assert prepare(FOLDER).returncode == 0
    (folder / "2.png").unlink()
    refused(prepare(FOLDER), 1, "1 of 3", "absent: 2.png: no such file", "max_rejected")
    assert len(manifest.read(tmp_path / "data" / "manifest" / "mine")) == 3


def test_wrong_input_is_one_line_and_nothing_is_written(prepare: Prepare, folder: Path, tmp_path: Path):
    refused(prepare(FOLDER | {"path": "nowhere"}), 2, "nowhere: no such folder", "params.yaml")
    refused(
        prepare(FOLDER | {"buckets": [[16, 16, 16]]}),
        2,
        "params.yaml: key 'sources.mine.buckets.0.0'",
        "4n + 1",
        "13 or 17",
    )
    refused(prepare(FOLDER | {"bucket": 1}), 2, "unknown key 'sources.mine.bucket'")
    refused(prepare(FOLDER, name="yours"), 2, "yours")
    refused(prepare(FOLDER | {"caption": "prompt"}), 2, "metadata.jsonl:1", "no 'prompt'")
    refused(prepare(FOLDER | {"buckets": [[1, 32, 32]]}), 1, "too_small: 0.png: 24 x 20 pixels", "32 x 32")
    (folder / "metadata.jsonl").write_text("")
    refused(prepare(FOLDER), 1, "no_caption: 0.png")
    for n in range(3):
        (folder / f"{n}.png").unlink()
    refused(prepare(FOLDER), 2, "source 'mine' is empty")
    (folder / "metadata.jsonl").write_text('{"file_name": "../params.yaml", "text": "a"}')
    refused(prepare(FOLDER), 2, "metadata.jsonl:1", "'../params.yaml' is no plain path")
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data" / "manifest").iterdir())
