"""A manifest reads as it was written, the same bytes each time, and not at all if it was changed."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from frostline import errors, files, manifest
from frostline.manifest import Columns, Rejected, Row, columns


def row(number: int, **changes: object) -> Row:
    facts = {
        "id": f"{number:032x}",
        "source": "s",
        "item": f"item-{number}",
        "split": "train",
        "locator": f"folder/{number}.mp4",
        "medium": "clip",
        "file": f"folder/{number}.mp4",
        "offset": 0,
        "size": 1000,
        "content": "c" * 32,
        "start": 8 * number,
        "shown": tuple(range(8 * number, 8 * number + 5)),
        "pts": tuple(range(0, 2500, 500)),
        "time_base": (1, 15000),
        "flip": False,
        "frames": 5,
        "height": 32,
        "width": 48,
        "source_width": 64,
        "source_height": 64,
        "source_frames": 40,
        "source_fps": 29.97,
        "crop": (0, 8, 64, 56),
        "captions": ("ein Hündchen\n“läuft”", "a dog runs"),
        "weights": (1.0, 0.5),
        "attributes": '{"label":7}',
    }
    return Row(**(facts | changes))  # pyright: ignore[reportArgumentType]


ROWS = [row(0), row(1, split="test"), row(2, frames=1), row(3, item="item-0", start=32)]
REJECTED = [
    Rejected(source="s", locator=f"{n}.png", reason=r, detail="d") for n, r in enumerate(["absent", "absent", "dark"])
]


def test_rows_and_rejections_come_back(tmp_path: Path):
    manifest.write(tmp_path / "s", ROWS, REJECTED)
    assert manifest.read(tmp_path / "s") == ROWS
    assert manifest.read_rejected(tmp_path / "s") == REJECTED


def test_the_summary_counts_by_split_bucket_and_reason(tmp_path: Path):
    summary = manifest.write(tmp_path / "s", ROWS, REJECTED)
    assert summary == files.read_json(tmp_path / "s" / "manifest.json")
    assert (summary["items"], summary["media"], summary["rows"], summary["left_out"]) == (3, 4, 4, 3)
    assert summary["splits"] == {"train": 3, "validation": 0, "test": 1}
    assert summary["buckets"] == {
        "1x32x48": {"train": 1, "validation": 0, "test": 0},
        "5x32x48": {"train": 2, "validation": 0, "test": 1},
    }
    assert summary["rejected"] == {"absent": 2, "dark": 1}


def test_equal_rows_are_equal_bytes(tmp_path: Path):
    for name in "ab":
        manifest.write(tmp_path / name, ROWS, REJECTED)
    for file in ("items.parquet", "rejected.parquet", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_none_left_out_is_an_empty_table(tmp_path: Path):
    manifest.write(tmp_path / "s", ROWS, [])
    assert manifest.read_rejected(tmp_path / "s") == []


@pytest.mark.parametrize("name", ["items.parquet", "rejected.parquet"])
def test_a_changed_or_missing_table_is_refused(tmp_path: Path, name: str):
    manifest.write(tmp_path / "s", ROWS, REJECTED)
    read = manifest.read if name == "items.parquet" else manifest.read_rejected
    data = bytearray((tmp_path / "s" / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "s" / name).write_bytes(data)
    with pytest.raises(errors.Refused, match=name):
        read(tmp_path / "s")
    (tmp_path / "s" / name).unlink()
    with pytest.raises(errors.Refused, match=name):
        read(tmp_path / "s")


def test_an_absent_manifest_is_named(tmp_path: Path):
    with pytest.raises(errors.WrongUse, match="nowhere"):
        manifest.read(tmp_path / "nowhere")


def test_duplicate_ids_are_refused_and_leave_the_old_manifest(tmp_path: Path):
    manifest.write(tmp_path / "s", ROWS, [])
    twice = [*ROWS, dataclasses.replace(ROWS[1], locator="other.mp4")]
    for rows in (twice, [*twice, dataclasses.replace(ROWS[0], locator="last.mp4")]):
        with pytest.raises(errors.WrongUse, match=r"folder/1.mp4, other.mp4"):
            manifest.write(tmp_path / "s", rows, [])
    assert manifest.read(tmp_path / "s") == ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_stream_of_any_length_is_written_as_a_list_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "AT_ONCE", 3)
    many = [row(number) for number in range(8)]
    manifest.write(tmp_path / "list", many, REJECTED)
    summary = manifest.write(tmp_path / "stream", iter(many), REJECTED)
    assert manifest.read(tmp_path / "stream") == many
    assert (tmp_path / "list" / "items.parquet").read_bytes() == (tmp_path / "stream" / "items.parquet").read_bytes()
    assert summary["rows"] == 8


def test_a_manifest_that_is_not_wanted_leaves_the_old_one(tmp_path: Path):
    manifest.write(tmp_path / "s", ROWS, [])

    def require(summary: dict[str, Any]) -> None:
        assert summary["left_out"] == 3
        raise errors.Refused("too many")

    with pytest.raises(errors.Refused, match="too many"):
        manifest.write(tmp_path / "s", ROWS[:1], REJECTED, require)
    assert manifest.read(tmp_path / "s") == ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_media_that_lost_only_a_part_are_not_counted_as_left_out(tmp_path: Path):
    part = Rejected(source="s", locator="folder/1.mp4", reason="too_short", detail="its second scene")
    summary = manifest.write(tmp_path / "s", ROWS, [*REJECTED, part])
    assert (summary["left_out"], summary["rejected"]["too_short"]) == (3, 1)


def test_every_part_of_an_identity_counts():
    before: list[Any] = ["s", "a.mp4", "c" * 32, 0, (5, 32, 48), (0, 8, 64, 56)]
    after: list[Any] = ["t", "b.mp4", "d" * 32, 8, (9, 32, 48), (0, 0, 64, 48)]
    changed = [[*before[:place], after[place], *before[place + 1 :]] for place in range(6)]
    assert len({manifest.identity(*parts) for parts in (before, *changed)}) == 7


def many(*numbers: int) -> Columns[Row]:
    return Columns.of(Row, [row(number, locator=f"{number:02}") for number in numbers])


def locators(rows: Columns[Row]) -> list[str]:
    assert rows.records() == many(*map(int, rows.values("locator"))).records()
    return rows.values("locator")


def test_columns_are_the_records_they_were_made_of():
    rows = many(0, 1, 2, 3)
    assert rows.records([3, 1]) == [row(3, locator="03"), row(1, locator="01")]
    assert locators(rows.where([True, False, False, True])) == ["00", "03"]
    assert [locators(part) for part in rows.parted("locator", {"01", "02", "07"})] == [["00", "03"], ["01", "02"]]
    assert [locators(part) for part in rows.parted("locator", ())] == [["00", "01", "02", "03"], []]
    assert [locators(part) for part in many().parted("locator", {"01"})] == [[], []]


@pytest.mark.parametrize("others", [(), (0,), (3,), (9,), (4, 5), (0, 3, 8, 9)])
def test_rows_are_merged_by_name_and_written_as_if_they_had_come_so(tmp_path: Path, others: tuple[int, ...]):
    merged = many(1, 2, 6, 7).merged(many(*others), "locator")
    assert locators(merged) == sorted(f"{number:02}" for number in (1, 2, 6, 7, *others))
    manifest.write_columns(tmp_path / "merged", merged.parts(), [])
    manifest.write(tmp_path / "plain", merged.records(), [])
    assert (tmp_path / "merged" / "items.parquet").read_bytes() == (tmp_path / "plain" / "items.parquet").read_bytes()


def test_tables_that_were_kept_are_the_same(tmp_path: Path):
    with manifest.keeping(tmp_path / "rows.arrow", Row) as keep:
        keep(many(0, 1))
        keep(many(2))
    assert manifest.kept(tmp_path / "rows.arrow", Row).records() == many(0, 1, 2).records()


def test_pyarrow_does_without_pandas_until_it_is_asked_for():
    code = """
import sys
import pyarrow as pa
from frostline import manifest
from frostline.manifest import Columns, Rejected
manifest.without_pandas()
one = Columns.of(Rejected, [Rejected(source="s", locator="l", reason="r", detail="d")])
assert one.where([True]).values("locator") == ["l"]
assert "pandas" not in sys.modules
assert pa.table({"a": [1, 2]}).to_pandas()["a"].sum() == 3
"""
    subprocess.run([sys.executable, "-c", code], check=True)
