"""metadata.jsonl and metadata.csv: what is read, and what is refused naming file, line and remedy."""

from pathlib import Path
from typing import Any

import pytest

from frostline import errors, storage
from frostline.sources.entries import Caption
from tests.unit.sources.listing.conftest import by_name, lines, read, reasons, texts, write


def test_entries_stand_in_the_order_of_their_names(tmp_path: Path):
    metadata = lines(
        [
            {"file_name": "./b.png", "text": "bee", "label": 7, "camera": {"angle": 1.5}},
            {"file_name": "a/c.png", "text": None, "item": "film"},
        ]
    )
    write(tmp_path, {"metadata.jsonl": metadata, "b.png": "bytes", "a/c.png": ""})
    first, second = read(tmp_path, "imagefolder").entries
    assert (first.locator, first.item, first.captions, first.attributes) == ("a/c.png", "film", (), "{}")
    assert (second.locator, second.file, second.item, texts(second)) == ("b.png", "b.png", None, ["bee"])
    assert (second.medium, second.attributes) == ("image", '{"camera":{"angle":1.5},"label":7}')
    assert second.blobs == (storage.blob(str(tmp_path), "b.png"),)


@pytest.mark.parametrize(
    ("value", "captions"),
    [
        (" one ", [("one", 1.0)]),
        (["one", " ", "two"], [("one", 1.0), ("two", 1.0)]),
        ([{"text": "one", "weight": 2}, {"text": "two", "weight": 0.5}], [("one", 2.0), ("two", 0.5)]),
        ("", []),
        ([], []),
    ],
)
def test_captions_are_a_text_texts_or_weighted_texts(tmp_path: Path, value: Any, captions: list[tuple[str, float]]):
    write(tmp_path, {"metadata.jsonl": lines([{"file_name": "a.mp4", "text": value}]), "a.mp4": ""})
    (entry,) = read(tmp_path, "videofolder").entries
    assert entry.captions == tuple(Caption(*caption) for caption in captions)
    assert entry.medium == "clip"


def test_a_csv_table_says_the_same(tmp_path: Path):
    table = '\ufefffile_name,text,item,label\r\na.png,"one, two\nthree",film,7\r\nb.png,,,\r\n'
    write(tmp_path, {"metadata.csv": table, "a.png": "", "b.png": ""})
    first, second = read(tmp_path, "imagefolder").entries
    assert (texts(first), first.item, first.attributes) == (["one, two\nthree"], "film", '{"label":"7"}')
    assert (texts(second), second.item, second.attributes) == ([], None, '{"label":""}')


def test_blank_lines_a_byte_order_mark_and_line_separators_in_captions_are_read(tmp_path: Path):
    line = '{"file_name": "a.png", "text": "one\u2028two"}'
    write(tmp_path, {"metadata.jsonl": b"\xef\xbb\xbf" + line.encode() + b"\r\n\n", "a.png": ""})
    assert by_name(read(tmp_path, "imagefolder")) == {"a.png": ["one\u2028two"]}


def refusal(root: Path, content: str | bytes, file: str = "metadata.jsonl") -> str:
    write(root, {file: content, "a.png": ""})
    with pytest.raises(errors.WrongUse) as caught:
        read(root, "imagefolder")
    return str(caught.value)


GOOD = '{"file_name": "a.png", "text": "a"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + "{", "metadata.jsonl:2: not JSON"),
        (GOOD + "[" * 100_000, "metadata.jsonl:2: not JSON"),
        (GOOD + "[]", "metadata.jsonl:2: not a JSON object"),
        (GOOD.encode() + b'{"file_name": "\xff"}', "metadata.jsonl:2: not UTF-8 at byte 15"),
        ('{"text": "a"}', "no 'file_name' (it has 'text')"),
        ('{"file_name": "a.png", "caption": "a"}', "no 'text' (it has 'file_name', 'caption')"),
        ('{"file_name": "a.png", "text": 7}', "the caption is 7; write"),
        ('{"file_name": "a.png", "text": [7]}', "a caption of the list is 7; write"),
        ('{"file_name": "a.png", "text": [{"text": "a"}]}', "a caption of the list is {'text': 'a'}"),
        ('{"file_name": "a.png", "text": [{"text": "a", "weight": 0}]}', "weight of a caption is 0; give"),
        ('{"file_name": "a.png", "text": [{"text": "a", "weight": true}]}', "weight of a caption is True"),
        ('{"file_name": "a.png", "text": "\\ud83d"}', "holds half a character at place 0"),
        ('{"file_name": "a.png", "text": "a\\u0000"}', "holds a zero byte"),
        ('{"file_name": 7, "text": "a"}', "'7' is no plain path"),
        ('{"file_name": "a.png", "text": "a", "item": 7}', "'item' is 7"),
        ('{"file_name": "a.png", "text": "a", "x": NaN}', "metadata.jsonl:1"),
        ('{"file_name": "a.png", "text": "a", "x": "\\ud83d"}', "holds half a character"),
        (GOOD + '{"file_name": "./a.png", "text": "b"}', ":2: 'a.png' stands in"),
    ],
)
def test_wrong_lines_are_refused(tmp_path: Path, content: str | bytes, message: str):
    assert message in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file_name,text\na.png,a,b\n", "metadata.csv:2: 3 values for 2 columns; quote texts"),
        ('file_name,text\na.png,"a\n', "metadata.csv:2: not CSV"),
        ("file_name,file_name\n", "names the columns ['file_name', 'file_name']; name each once"),
        ("", "names the columns []"),
        ("file_name,caption\na.png,a\n", "metadata.csv:2: no 'text' (it has 'file_name', 'caption')"),
        ("file_name,text\na.png,a\na.png,b\n", "metadata.csv:3: 'a.png' stands in"),
        (b"file_name,text\na.png,\xe9\n", "metadata.csv: not UTF-8"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, content: str | bytes, message: str):
    assert message in refusal(tmp_path, content, "metadata.csv")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.png", "a/../../b.png", "", ".", "a\\b.png", "a\nb.png", "a\0b.png", "a\u202eb.png"]
)
def test_names_that_lead_out_or_cannot_be_shown_are_refused(tmp_path: Path, name: str):
    assert "metadata.jsonl:2: " in (message := refusal(tmp_path, GOOD + lines([{"file_name": name, "text": "a"}])))
    assert f"{name!a} is no plain path below" in message


def test_a_linked_file_is_read_a_linked_folder_outside_is_refused(tmp_path: Path):
    outside = write(tmp_path / "outside", {"a.png": ""})
    root = write(tmp_path / "root", {"metadata.jsonl": lines([{"file_name": "link.png", "text": "a"}])})
    (root / "link.png").symlink_to(outside / "a.png")
    assert by_name(read(root, "imagefolder")) == {"link.png": ["a"]}
    (root / "away").symlink_to(outside)
    names = ["link.png", "away/a.png"]
    write(root, {"metadata.jsonl": lines([{"file_name": name, "text": "a"} for name in names])})
    with pytest.raises(errors.WrongUse, match=r"metadata.jsonl:2: away is a link that leads out"):
        read(root, "imagefolder")


def test_a_link_to_a_folder_inside_serves_the_names_that_use_it(tmp_path: Path):
    names = ["real/a.png", "link/a.png"]
    write(tmp_path, {"metadata.jsonl": lines([{"file_name": name, "text": "a"} for name in names]), "real/a.png": ""})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = read(tmp_path, "imagefolder")
    assert by_name(found) == {"link/a.png": ["a"], "real/a.png": ["a"]}
    assert found.rejected == []


def test_a_name_in_a_loop_of_links_is_refused(tmp_path: Path):
    write(tmp_path, {"metadata.jsonl": lines([{"file_name": "loop/a.png", "text": "a"}])})
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(errors.WrongUse, match="loop"):
        read(tmp_path, "imagefolder")


def test_missing_folder_and_missing_file_are_named(tmp_path: Path):
    with pytest.raises(errors.WrongUse, match="nowhere: no such folder"):
        read(tmp_path / "nowhere", "imagefolder")
    write(tmp_path, {"train/metadata.jsonl": ""})
    with pytest.raises(errors.WrongUse, match=r"no such file; write one line per file.*folders that have one: train"):
        read(tmp_path, "imagefolder")
    write(tmp_path, {"metadata.jsonl": "", "metadata.csv": ""})
    with pytest.raises(errors.WrongUse, match=r"holds metadata.jsonl and metadata.csv; keep one"):
        read(tmp_path, "imagefolder")


def test_what_is_not_named_has_no_captions_and_what_is_not_there_is_absent(tmp_path: Path):
    metadata = lines(
        [{"file_name": name, "text": "a"} for name in ("a.png", "gone.png", "sub", ".hid/d.png", "dang.png")]
    )
    names = ("a.png", "b.HEIC", "README.md", ".hidden", "sub/c.png", "sub/captions.csv", ".hid/d.png")
    write(tmp_path, {"metadata.jsonl": metadata, **dict.fromkeys(names, "")})
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "dang.png").symlink_to(tmp_path / "nothing")
    found = read(tmp_path, "imagefolder")
    assert by_name(found) == {".hid/d.png": ["a"], "a.png": ["a"], "b.HEIC": [], "sub/c.png": []}
    assert reasons(found) == {
        "dang.png": "absent",
        "gone.png": "absent",
        "sub": "unreadable",
        "sub/loop": "link_to_folder",
    }
    assert not any(str(tmp_path) in entry.detail for entry in found.rejected)  # tables hold no absolute paths
