"""metadata.jsonl: what is read, and what is refused naming file, line and remedy."""

from pathlib import Path

import pytest

from frostline import errors
from frostline.sources import metadata
from tests.unit.sources.conftest import Describe


def test_entries_stand_in_the_order_of_their_names(describe: Describe):
    root = describe(
        [
            {"file_name": "./b.png", "text": "bee", "label": 7, "camera": {"angle": 1.5}},
            {"file_name": "a/c.png", "text": None, "item": "film"},
        ]
    )
    first, second = metadata.read(root, "text")
    assert (first.locator, first.item, first.caption, first.attributes) == ("a/c.png", "film", "", "{}")
    assert (second.locator, second.item, second.caption) == ("b.png", None, "bee")
    assert second.attributes == '{"camera":{"angle":1.5},"label":7}'


def test_blank_lines_a_byte_order_mark_and_line_separators_in_captions_are_read(tmp_path: Path):
    line = '{"file_name": "a.png", "text": "one\u2028two"}'
    (tmp_path / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\r\n\n")
    assert [entry.caption for entry in metadata.read(tmp_path, "text")] == ["one\u2028two"]


def refusal(root: Path, content: str | bytes, caption: str = "text") -> str:
    (root / "metadata.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(errors.WrongUse) as caught:
        metadata.read(root, caption)
    return str(caught.value)


GOOD = '{"file_name": "a.png", "text": "a"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + "{", "metadata.jsonl:2: not JSON"),
        (GOOD + "[]", "metadata.jsonl:2: not a JSON object"),
        (GOOD.encode() + b'{"file_name": "\xff"}', "metadata.jsonl:2: not UTF-8 at byte 15"),
        ('{"text": "a"}', "no 'file_name' (it has 'text')"),
        ('{"file_name": "a.png", "caption": "a"}', "no 'text' (it has 'file_name', 'caption')"),
        ('{"file_name": "a.png", "text": 7}', "'text' is 7; write a text in quotes"),
        ('{"file_name": 7, "text": "a"}', "'file_name' is 7"),
        ('{"file_name": "a.png", "text": "a", "item": 7}', "'item' is 7"),
        ('{"file_name": "a.png", "text": "a", "x": NaN}', "metadata.jsonl:1"),
        (GOOD + '{"file_name": "./a.png", "text": "b"}', ":2: 'a.png' stands in line 1 already"),
    ],
)
def test_wrong_lines_are_refused(tmp_path: Path, content: str | bytes, message: str):
    assert message in refusal(tmp_path, content)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.png", "a/../../b.png", "", ".", "a\\b.png", "a\nb.png", "a\0b.png"]
)
def test_names_that_lead_out_or_cannot_be_shown_are_refused(describe: Describe, name: str):
    root = describe([{"file_name": "a.png", "text": "a"}, {"file_name": name, "text": "a"}])
    with pytest.raises(errors.WrongUse, match=r"metadata.jsonl:2: .* is no plain path below"):
        metadata.read(root, "text")


def test_a_linked_file_is_read_a_linked_folder_outside_is_refused(tmp_path: Path, describe: Describe):
    root, outside = tmp_path, tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "a.png").touch()
    (root / "link.png").symlink_to(outside / "a.png")
    describe([{"file_name": "link.png", "text": "a"}])
    assert len(metadata.read(root, "text")) == 1
    (root / "away").symlink_to(outside)
    describe([{"file_name": "link.png", "text": "a"}, {"file_name": "away/a.png", "text": "a"}])
    with pytest.raises(errors.WrongUse, match=r"metadata.jsonl:2: .*away is a link that leads out"):
        metadata.read(root, "text")


def test_missing_folder_and_missing_file_are_named(tmp_path: Path):
    with pytest.raises(errors.WrongUse, match="nowhere: no such folder"):
        metadata.read(tmp_path / "nowhere", "text")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.jsonl").touch()
    with pytest.raises(errors.WrongUse, match=r"no such file; write one line per file.*folders that have one: train"):
        metadata.read(tmp_path, "text")


def test_media_without_a_line_are_found_and_loops_of_links_are_not_followed(describe: Describe):
    root = describe([{"file_name": "a.png", "text": "a"}])
    (root / "sub").mkdir()
    (root / "sub" / "loop").symlink_to(root)
    for name in ("a.png", "b.HEIC", "README.md", ".hidden", "sub/c.png", "sub/captions.csv"):
        (root / name).touch()
    assert metadata.unnamed(root, metadata.read(root, "text"), folders=False) == ["b.HEIC", "sub/c.png"]


def test_frame_folders_without_a_line_are_found(describe: Describe):
    root = describe([{"file_name": "one", "text": "a"}])
    for name in ("one/1.png", "two/1.png", "deep/three/1.png", "stray.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    assert metadata.unnamed(root, metadata.read(root, "text"), folders=True) == ["deep/three", "stray.png", "two"]
