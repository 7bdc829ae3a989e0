"""Parquet and CSV tables of paths and captions."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frostline import errors
from frostline.sources import listing
from tests.unit.sources.listing.conftest import by_name, media_params, read, reasons, texts, write


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_a_parquet_table_names_media_captions_and_items(tmp_path: Path):
    outside = write(tmp_path / "elsewhere", {"c.png": ""}) / "c.png"
    write(tmp_path / "data", {"sub/a.mp4": "", "b.png": "", "unnamed.png": ""})
    columns = {
        "path": ["sub/a.mp4", "./b.png", str(outside), "gone.png", "sub"],
        "caption": ["short", None, "abs", "x", "x"],
        "long": [["one", "two"], [], None, None, None],
        "shot": [1, 2, None, 4, 5],
        "score": [0.5, float("nan"), None, 1.0, 1.0],
        "embedding": [[0.0]] * 5,
    }
    table = parquet(tmp_path / "data" / "table.parquet", columns)
    settings = media_params(table, "table", captions=["caption", "long"], item="shot")
    found = listing.read("s", settings)
    absolute = str(outside).lstrip("/")
    assert by_name(found) == {absolute: ["abs"], "b.png": [], "sub/a.mp4": ["short", "one", "two"]}
    by_locator = {entry.locator: entry for entry in found.entries}
    assert (by_locator["sub/a.mp4"].item, by_locator["sub/a.mp4"].attributes) == ("1", '{"score":0.5}')
    assert (by_locator["b.png"].attributes, by_locator[absolute].item) == ('{"score":null}', None)
    assert reasons(found) == {"gone.png": "absent", "sub": "unreadable"}
    for entry in found.entries:  # what a row remembers is enough to read it again
        (blob,) = entry.blobs
        (again,) = listing.blobs(settings, entry.file, blob.offset, blob.size)
        assert again.path == blob.path


def test_a_csv_table_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, {"t.csv": 'path,caption,label\na.png,"one, two",7\nb.png,,\n', "a.png": "", "b.png": ""})
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "t.csv", "t.csv"):
        first, second = read(path, "table").entries
        assert (first.file, texts(first), first.attributes) == ("a.png", ["one, two"], '{"label":"7"}')
        assert texts(second) == []


def test_json_lines_say_the_same(tmp_path: Path):
    lines = '{"path": "a.png", "caption": ["one", "two"], "label": 7}\n\n{"path": "b.png", "caption": null}\n'
    write(tmp_path, {"t.jsonl": lines, "a.png": "", "b.png": ""})
    first, second = read(tmp_path / "t.jsonl", "table").entries
    assert (first.file, texts(first), first.attributes) == ("a.png", ["one", "two"], '{"label":7}')
    assert texts(second) == []
    write(tmp_path, {"t.jsonl": '{"path": "a.png", "caption": "a"}\n{"path": "b.png"}\n'})
    with pytest.raises(errors.WrongUse, match=r"t.jsonl:2: no column 'caption'"):
        read(tmp_path / "t.jsonl", "table")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"file": ["a.png"], "caption": ["a"]}, "no column 'path' (it has ['file', 'caption'])"),
        ({"path": ["a.png", "b/../../a.png"], "caption": ["a", "a"]}, "row 2: 'b/../../a.png' is no plain path"),
        ({"path": ["a.png", "a\n.png"], "caption": ["a", "a"]}, "row 2: 'a\\n.png' is no plain path"),
        ({"path": ["a.png", "a.png"], "caption": ["a", "a"]}, "row 2: 'a.png' stands in"),
        ({"path": ["a.png", None], "caption": ["a", "a"]}, "row 2: 'None' is no plain path"),
        ({"path": ["/x/../a.png"], "caption": ["a"]}, "row 1: 'x/../a.png' is no plain path"),
        ({"path": ["http://x/a.png"], "caption": ["a"]}, "row 1: http://x/a.png: only local paths"),
        ({"path": ["a.png"], "caption": [7]}, "row 1: the caption is 7"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, rows: dict[str, Any], message: str):
    write(tmp_path, {"a.png": ""})
    with pytest.raises(errors.WrongUse) as caught:
        read(parquet(tmp_path / "t.parquet", rows), "table")
    assert message in str(caught.value)


def test_damaged_and_missing_tables_are_refused(tmp_path: Path):
    table = parquet(tmp_path / "t.parquet", {"path": ["a"] * 999, "caption": ["a"] * 999})
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(errors.WrongUse, match=r"t.parquet: not a whole parquet file"):
        read(table, "table")
    with pytest.raises(errors.WrongUse, match=r"none.csv: no such file"):
        read(tmp_path / "none.csv", "table")


def test_a_linked_folder_that_leads_out_is_refused(tmp_path: Path):
    write(tmp_path, {"out/a.png": "", "in/t.csv": "path,caption\naway/a.png,a\n"})
    (tmp_path / "in" / "away").symlink_to(tmp_path / "out")
    with pytest.raises(errors.WrongUse, match=r"t.csv:2: away is a link that leads out"):
        read(tmp_path / "in" / "t.csv", "table")
