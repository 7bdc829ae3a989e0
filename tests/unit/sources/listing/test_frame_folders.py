"""Frame folders: in the order of the numbers in their names, without gaps."""

from pathlib import Path

import pytest

from frostline import media
from frostline.sources import listing
from frostline.sources.listing import frame_folders
from tests.unit.sources.listing.conftest import by_name, lines, media_params, read, reasons, write


def test_frames_stand_in_the_order_of_their_numbers(tmp_path: Path):
    names = {f"clip/shot2_{number}.png": str(number) for number in (10, 8, 9)}
    write(tmp_path, {"metadata.jsonl": lines([{"file_name": "clip", "text": "it moves"}]), **names})
    (entry,) = read(tmp_path, "frames").entries
    assert (entry.locator, entry.file, entry.medium) == ("clip", "clip", "frames")
    assert [blob.read(9) for blob in entry.blobs] == [b"8", b"9", b"10"]
    assert frame_folders.frames(str(tmp_path), "clip") == entry.blobs
    assert listing.blobs(media_params(tmp_path, "frames"), "clip", 0, 0) == entry.blobs


def test_every_folder_is_there_or_left_out_by_name(tmp_path: Path):
    named = ("one", "gap", "same", "word", "gone", "deep/er")
    tree = {"metadata.jsonl": lines([{"file_name": name, "text": "a"} for name in named]), "stray.png": ""}
    files = ("one/1.png", "gap/1.png", "gap/2.png", "gap/4.png", "same/1.png", "same/01.png", "word/a.png", "two/1.png")
    write(tmp_path, tree | dict.fromkeys((*files, "deep/er/1.png", "notes/read.md"), ""))
    found = read(tmp_path, "frames")
    assert by_name(found) == {"deep/er": ["a"], "one": ["a"], "two": []}
    assert reasons(found) == {
        "gap": "frames_missing",
        "gone": "absent",
        "same": "frames_missing",
        "stray.png": "not_a_folder",
        "word": "frames_missing",
    }


def test_a_linked_frame_folder_is_read(tmp_path: Path):
    write(tmp_path, {"metadata.jsonl": lines([{"file_name": "link", "text": "a"}]), "real/1.png": "1"})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = read(tmp_path, "frames")
    assert by_name(found) == {"link": ["a"], "real": []}
    assert found.rejected == []


def test_a_folder_that_went_is_said_to_be_absent(tmp_path: Path):
    with pytest.raises(media.Unusable, match="clip: no such folder") as caught:
        frame_folders.frames(str(tmp_path), "clip")
    assert caught.value.reason == "absent"
