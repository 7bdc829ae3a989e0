"""Tar shards: samples by stem, members where they lie, and everything a hostile tar can hold."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from frostline.sources.listing import captions
from tests.unit.sources.listing.conftest import by_name, read, reasons, texts, write

Member = tuple[str, bytes | tarfile.TarInfo]


def shard(path: Path, members: Sequence[Member], form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content
            info.name, info.size = name, len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_samples_are_read_where_they_lie(tmp_path: Path, form: int):
    long = "folder/" * 12 + "0001"
    members = [
        ("./a.jpg", b"picture"),
        ("a.txt", b"a cat"),
        (f"{long}.MP4", b"clip"),
        (f"{long}.txt", "un café".encode()),
        ("alone.png", b"no brother"),
        ("a.cls", b"7"),
        ("._a.jpg", b"of a file manager"),
    ]
    shard(tmp_path / "sub" / "000.tar", members, form)
    shard(tmp_path / "001.tar", [("a.jpg", b"another")])
    found = read(tmp_path, "webdataset")
    assert by_name(found) == {
        "001.tar/a.jpg": [],
        "sub/000.tar/a.jpg": ["a cat"],
        "sub/000.tar/alone.png": [],
        f"sub/000.tar/{long}.MP4": ["un café"],
    }
    assert [entry.blobs[0].read(99) for entry in found.entries] == [b"another", b"picture", b"no brother", b"clip"]
    assert {entry.file for entry in found.entries} == {"001.tar", "sub/000.tar"}
    assert len({entry.blobs[0].stamp for entry in found.entries}) == 4
    assert found.rejected == []


def test_captions_in_json_bring_items_and_attributes(tmp_path: Path):
    value = {"caption": [{"text": "a cat", "weight": 2}], "item": "film", "width": 7}
    members = [("a.jpg", b""), ("a.json", json.dumps(value).encode()), ("b.jpg", b""), ("b.json", b"{}")]
    bad = [
        ("c.jpg", b""),
        ("c.json", b"[]"),
        ("d.jpg", b""),
        ("d.json", b'{"caption": 7}'),
        ("e.jpg", b""),
        ("e.json", b"{"),
    ]
    shard(tmp_path / "0.tar", [*members, *bad])
    found = read(tmp_path, "webdataset", caption="json:caption")
    first, second = found.entries
    assert (texts(first), first.captions[0].weight, first.item, first.attributes) == (
        ["a cat"],
        2.0,
        "film",
        '{"width":7}',
    )
    assert (second.locator, second.captions) == ("0.tar/b.jpg", ())
    assert reasons(found) == {f"0.tar/{name}.jpg": "caption_unreadable" for name in "cde"}


def test_samples_that_are_not_one_medium_are_left_out(tmp_path: Path):
    members = [
        ("two.jpg", b""),
        ("two.mp4", b""),
        ("none.txt", b"of nothing"),
        ("sound.wav", b""),
        ("twice.png", b"1"),
        ("twice.txt", b"a"),
        ("./twice.png", b"2"),
        ("latin.png", b""),
        ("latin.txt", b"caf\xe9"),
        ("long.png", b""),
        ("long.txt", b"x" * (captions.LIMIT + 1)),
        ("good.left.jpg", b""),
        ("good.txt", b"good"),
    ]
    shard(tmp_path / "0.tar", members)
    found = read(tmp_path, "webdataset")
    assert by_name(found) == {"0.tar/good.left.jpg": ["good"]}
    assert reasons(found) == {
        "0.tar/latin.png": "caption_unreadable",
        "0.tar/long.png": "caption_unreadable",
        "0.tar/none": "no_media",
        "0.tar/sound": "no_media",
        "0.tar/twice.png": "duplicate_name",
        "0.tar/two": "several_media",
    }


def test_links_devices_and_names_that_lead_out_are_left_out_by_name(tmp_path: Path):
    members: list[Member] = [
        ("link.jpg", special(tarfile.SYMTYPE, "/etc/passwd")),
        ("hard.jpg", special(tarfile.LNKTYPE, "good.jpg")),
        ("pipe.jpg", special(tarfile.FIFOTYPE)),
        ("disk.jpg", special(tarfile.BLKTYPE)),
        ("folder", special(tarfile.DIRTYPE)),
        ("/etc/a.jpg", b"x"),
        ("../b.jpg", b"x"),
        ("x/../../c.jpg", b"x"),
        ("new\nline.jpg", b"x"),
        ("good.jpg", b"good"),
    ]
    shard(tmp_path / "0.tar", members)
    found = read(tmp_path, "webdataset")
    assert by_name(found) == {"0.tar/good.jpg": []}
    assert reasons(found) == {
        "0.tar/'new\\nline.jpg'": "unsafe_name",
        "0.tar/../b.jpg": "unsafe_name",
        "0.tar//etc/a.jpg": "unsafe_name",
        "0.tar/disk.jpg": "not_a_file",
        "0.tar/hard.jpg": "link",
        "0.tar/link.jpg": "link",
        "0.tar/pipe.jpg": "not_a_file",
        "0.tar/x/../../c.jpg": "unsafe_name",
    }


def broken(tmp_path: Path, change: str) -> bytes:
    data = shard(tmp_path / "whole.tar", [("a.jpg", b"a" * 512), ("b.jpg", b"b" * 512)]).read_bytes()
    member = 1024
    if change == "cut in a member":
        return data[: member + 700]
    if change == "cut between members":
        return data[:member]
    if change == "a damaged header":
        return data[:member] + b"\xff" * 512 + data[member + 512 :]
    if change == "two tars in one":
        return data + data
    assert change == "not a tar"
    return b"not a tar at all" * 99


@pytest.mark.parametrize(
    ("change", "kept", "problem"),
    [
        ("cut in a member", ["a"], "unexpected end of data"),
        ("cut between members", ["a"], "breaks off at byte 1024"),
        ("a damaged header", ["a"], "no header of a member at byte 1024"),
        ("two tars in one", ["a", "b"], "data behind the end mark at byte 2048"),
        ("not a tar", [], "the shard"),
    ],
)
def test_a_shard_that_breaks_off_says_so_and_keeps_what_is_whole(
    tmp_path: Path, change: str, kept: list[str], problem: str
):
    data = broken(tmp_path, change)
    (tmp_path / "whole.tar").unlink()
    found = read(write(tmp_path, {"0.tar": data}), "webdataset")
    assert [entry.locator for entry in found.entries] == [f"0.tar/{name}.jpg" for name in kept]
    shards = [entry for entry in found.rejected if entry.locator == "0.tar"]
    assert [entry.reason for entry in shards] == ["unreadable"]
    assert change == "not a tar" or problem in shards[0].detail


def test_headers_that_lead_backwards_end_a_shard(tmp_path: Path):
    info = tarfile.TarInfo("a.jpg")
    info.pax_headers = {"size": "-2048"}  # an endless loop in older readers
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
        tar.addfile(tarfile.TarInfo("b.jpg"))
    found = read(tmp_path, "webdataset")
    assert reasons(found) == {"0.tar": "unreadable"}


def test_what_is_not_a_plain_tar_is_left_out_by_name(tmp_path: Path):
    shard(tmp_path / "0.tar", [("a.jpg", b"")])
    found = read(write(tmp_path, {"1.tar.gz": "", "2.zip": "", "index.json": "{}"}), "webdataset")
    assert by_name(found) == {"0.tar/a.jpg": []}
    assert reasons(found) == {"1.tar.gz": "compressed_tar", "2.zip": "not_a_tar"}
