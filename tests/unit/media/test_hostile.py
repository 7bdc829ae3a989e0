"""Files made to do harm: each is refused for a reason; nothing crashes, fills the memory, or opens another file."""

import zlib
from pathlib import Path
from typing import Any

import av
import pytest

from frostline import media
from tests.unit.media import hostile, judging, looking

REASONS = {
    "pixels.png": "too_many_pixels",
    "screen.gif": "too_many_pixels",
    "frame.gif": "too_many_pixels",
    "frames.gif": "too_many_frames",
    "canvas.webp": "too_many_pixels",
    "lossless.webp": "too_many_pixels",
    "header.jpg": "too_many_pixels",
    "header.bmp": "too_many_pixels",
    "scans.jpg": "too_many_scans",
    "text.png": "unreadable",
    "cut.mkv": "unreadable",
    "cut_index.mp4": "unreadable",
    "hls.mp4": "not_media",
    "concat_after_mark.mp4": "unreadable",
    "alias.mov": "unreadable",
    "sound.mp4": "not_a_clip",
    "cover.mp4": "not_a_clip",
    "sizes.mov": "unreadable",
    "nothing.png": "not_media",
    "pipe.mp4": "not_a_file",
    "folder.png": "not_a_file",
    "socket.gif": "not_a_file",
    "zero.jpg": "not_a_file",
    "loop.png": "unreadable",
    "gone.mp4": "absent",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return judging.judged(tmp_path_factory.mktemp("hostile") / "set")


def test_every_kind_is_refused_with_a_reason(found: list[dict[str, Any]]):
    assert len(found) >= 75
    taken = [one["name"] for one in found if "taken" in dict(one["reasons"])]
    assert taken == []
    by_bytes = {one["name"]: one["reasons"][0][0] for one in found}
    assert {name: by_bytes[name] for name in REASONS} == REASONS


def test_every_message_names_its_file_on_one_line(found: list[dict[str, Any]]):
    for one in found:
        shown = one["name"].replace("\n", "\\n")
        assert all(shown in message and message.isprintable() for _, message in one["reasons"]), one


def test_no_other_file_is_opened(found: list[dict[str, Any]]):
    assert [one["name"] for one in found if set(one["opened"]) - {one["name"]}] == []
    assert sum(one["opened"] != [] for one in found) >= 65  # the watch does see what is opened


def test_memory_is_bounded(found: list[dict[str, Any]]):
    assert max(one["growth"] for one in found) < 64 << 10
    said = [message for one in found for _, message in one["reasons"]]
    assert not [message for message in said if "MemoryError" in message or "Cannot allocate memory" in message]


def test_memory_that_a_file_takes_is_seen(tmp_path: Path):
    side = 9000  # a byte a pixel: 77 MiB
    (tmp_path / "large.png").write_bytes(hostile.png(side, side, zlib.compress(bytes(side * (side + 1)), 1)))
    (one,) = judging.judge(tmp_path, ["large.png"], max_pixels=side * side)
    assert one["reasons"][0][0] == "taken"
    assert one["growth"] > 64 << 10


def test_the_files_would_do_harm_elsewhere(tmp_path: Path):
    hostile.make(tmp_path, judging.MAX_FRAMES)
    with av.open(str(tmp_path / "concat.mp4")) as container:  # opened by its name, as a player does
        assert sum(1 for _ in container.decode(video=0)) == 12  # the canary's
    assert looking.probe(tmp_path / "canary.mp4").extent.frames == 12
    assert looking.image(tmp_path / "canary.jpg").shape == (32, 32, 3)


def test_the_same_set_every_time(tmp_path: Path):
    for name in "ab":
        hostile.make(tmp_path / name, judging.MAX_FRAMES)
    for file in sorted((tmp_path / "a").iterdir()):
        if file.is_file() and file.name not in ("zero.jpg", "alias.mov", "file_url.mov"):  # two hold the folder's path
            assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_a_member_of_an_archive_is_named_by_its_place(tmp_path: Path):
    (tmp_path / "shard.tar").write_bytes(bytes(512) + b"no picture")
    with pytest.raises(media.Unusable, match=r"shard.tar \(from byte 512 on\): its first bytes") as caught:
        media.probe([looking.blob(tmp_path / "shard.tar").part(512, 10)], None, looking.LIMITS, None)
    assert caught.value.reason == "not_media"
