"""FastVideo's videos2caption.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from frostline import errors
from tests.unit.sources.listing.conftest import by_name, read, reasons, write

MEASURED = {"resolution": {"width": 848, "height": 480}, "fps": 30.0, "duration": 6.03, "num_frames": 181, "size": 9}


def test_the_list_names_media_below_its_folder(tmp_path: Path):
    listed = [
        {"path": "Airplane/1.mp4", "cap": ["a plane", "it flies"], **MEASURED, "source": "mixkit"},
        {"path": "0.jpg", "cap": "a cat"},
        {"path": "null.mp4", "cap": None},
        {"path": "gone.mp4", "cap": ["x"]},
    ]
    names = ("videos/Airplane/1.mp4", "videos/0.jpg", "videos/null.mp4", "videos/extra.mp4", "outside.mp4")
    write(tmp_path, {"videos2caption.json": json.dumps(listed), **dict.fromkeys(names, "")})
    (tmp_path / "videos" / "loop").symlink_to(tmp_path)
    found = read(tmp_path, "fastvideo")
    assert by_name(found) == {
        "videos/0.jpg": ["a cat"],
        "videos/Airplane/1.mp4": ["a plane", "it flies"],
        "videos/extra.mp4": [],
        "videos/null.mp4": [],
    }
    assert found.entries[1].attributes == '{"source":"mixkit"}'
    assert reasons(found) == {"videos/gone.mp4": "absent", "videos/loop": "link_to_folder"}


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"1.mp4": "a"}, "not a JSON list"),
        (["1.mp4"], "number 1 is '1.mp4'"),
        ([{"path": "1.mp4"}], "number 1: no 'cap' (it has 'path')"),
        ([{"path": "../1.mp4", "cap": "a"}], "number 1: '../1.mp4' is no plain path"),
        ([{"path": "1.mp4", "cap": 7}], "number 1: the caption is 7"),
        ([{"path": "1.mp4", "cap": "a", "cut": [0, 9]}], "number 1: 'cut' is not supported"),
        ([{"path": "1.mp4", "cap": "a"}, {"path": "./1.mp4", "cap": "a"}], "number 2: 'videos/1.mp4' stands in"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, listed: Any, message: str):
    write(tmp_path, {"videos2caption.json": json.dumps(listed), "videos/1.mp4": ""})
    with pytest.raises(errors.WrongUse) as caught:
        read(tmp_path, "fastvideo")
    assert message in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path):
    with pytest.raises(errors.WrongUse, match=r"videos2caption.json: no such file"):
        read(tmp_path, "fastvideo")
    write(tmp_path, {"videos2caption.json": "[]"})
    with pytest.raises(errors.WrongUse, match=r"/videos: no such folder"):
        read(tmp_path, "fastvideo")
    with pytest.raises(errors.WrongUse, match="folder of the media in params"):
        read(tmp_path, "fastvideo", media="../videos")
