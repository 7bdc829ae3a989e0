"""Text files beside media: encodings, partners, and what has none."""

from pathlib import Path

import pytest

from frostline.sources.listing import captions
from tests.unit.sources.listing.conftest import by_name, read, reasons, write


def test_a_text_serves_the_media_of_its_name(tmp_path: Path):
    tree = {
        "a.b.png": "",
        "a.b.txt": " a cat\non a mat \r\n",
        "sub/c.mp4": "",
        "sub/c.txt": b"\xef\xbb\xbfun caf\xc3\xa9",
        "sub/c.jpg": "",
        "blank.png": "",
        "blank.txt": " \n",
        "mute.png": "",
        "sub/mute.txt": "of nothing",
        "notes.json": "",
    }
    found = read(write(tmp_path, tree), "sidecar")
    assert by_name(found) == {
        "a.b.png": ["a cat\non a mat"],
        "blank.png": [],
        "mute.png": [],
        "sub/c.jpg": ["un café"],
        "sub/c.mp4": ["un café"],
    }
    assert {entry.medium for entry in found.entries} == {None}
    assert reasons(found) == {"sub/mute.txt": "no_media"}


def test_a_caption_a_line_and_other_extensions(tmp_path: Path):
    write(tmp_path, {"a.png": "", "a.caption.txt": "one\n\ntwo\r\n", "a.txt": "not this one"})
    found = read(tmp_path, "sidecar", extension=".caption.txt", lines="a_caption_each")
    assert by_name(found) == {"a.png": ["one", "two"]}
    assert found.rejected == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("un café".encode("latin-1"), "not UTF-8 at byte 6; save it as UTF-8"),
        ("a cat".encode("utf-16"), "it is UTF-16"),
        ("a cat".encode("utf-16-le"), "zero bytes, as UTF-16"),
        (b"x" * (captions.LIMIT + 1), "no more than 1048576 are read here"),
    ],
)
def test_a_text_that_cannot_be_read_costs_its_own_item(tmp_path: Path, data: bytes, problem: str):
    found = read(write(tmp_path, {"a.png": "", "a.txt": data, "b.png": "", "b.txt": "good"}), "sidecar")
    assert by_name(found) == {"b.png": ["good"]}
    (left_out,) = found.rejected
    assert (left_out.source, left_out.locator, left_out.reason) == ("s", "a.png", "caption_unreadable")
    assert left_out.detail.startswith("a.txt: ")
    assert problem in left_out.detail
    assert str(tmp_path) not in left_out.detail


def test_hostile_names_and_links_are_left_out_by_name(tmp_path: Path):
    write(tmp_path, {"a.png": "", "a\nb.png": "", "sub/c.png": ""})
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    found = read(tmp_path, "sidecar")
    assert by_name(found) == {"a.png": [], "sub/c.png": []}
    assert reasons(found) == {"'a\\nb.png'": "unprintable_name", "sub/loop": "link_to_folder"}
