"""Examples of a source: enough of them, the same each time, with pictures of what was left out too."""

import collections
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline import digests, files, manifest, media, records
from frostline.manifest import Columns, Row
from frostline.params.sources import DigitsParams, PromptsParams
from frostline.sources import preparing, sheets
from frostline.sources.seen import Seen
from frostline.sources.sheets import Sheets
from tests.unit.sources.conftest import clip, image, sidecar_params


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, a clip, one that is too small, one that is broken."""
    root = tmp_path / "media"
    for n in range(5):
        image(root / f"{n}.png", seed=n, height=400, width=600)
    image(root / "small.png", height=20)
    clip(root / "clip.mp4", 12)
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for file in root.iterdir():
        file.with_suffix(".txt").write_text(f"caption of {file.stem}")
    return root


def sheet(root: Path, name: str = "sheet") -> dict[str, Any]:
    """Make a sheet as the stage does, and read it."""
    work, settings, made = root.parent / "work", sidecar_params(root), Sheets()
    means = preparing.Means(work=work, look=made.look)
    rows, rejected = preparing.columns("s", settings, means)
    manifest.write_columns(work / "manifest", made.over(rows), rejected)
    made.write(root.parent / name, "s", settings, rejected, means.pictures("s"))
    return files.read_json(root.parent / name / sheets.FILE)


def picture(folder: Path, entry: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO((folder / entry["picture"]).read_bytes())))


def test_rows_and_what_was_left_out_have_pictures(folder: Path):
    found, beside = sheet(folder), folder.parent / "sheet"
    assert [row["locator"] for row in found["rows"] if row["bucket"] == [5, 32, 32]] == ["clip.mp4"]
    assert sorted(row["locator"] for row in found["rows"] if row["bucket"] == [1, 32, 32]) == [
        f"{n}.png" for n in range(5)
    ]
    stored = {row.id: row for row in manifest.read(folder.parent / "work" / "manifest")}
    for row in found["rows"]:
        assert row["crop"] == list(stored[row["id"]].crop)
        assert row["captions"] == [f"caption of {Path(row['locator']).stem}"]
        width, height = row["tile"]
        assert picture(beside, row).shape == (height, width * row["tiles"], 3)
    by_name = {row["locator"]: row for row in found["rows"]}
    assert (by_name["0.png"]["tile"], by_name["0.png"]["tiles"], by_name["0.png"]["frames"]) == ([256, 171], 1, [0])
    assert (by_name["clip.mp4"]["tile"], by_name["clip.mp4"]["frames"]) == ([48, 40], [0, 2, 4])
    rejected = {entry["locator"]: entry for entry in found["rejected"]}
    assert rejected["small.png"]["reason"] == "too_small"
    assert picture(beside, rejected["small.png"]).shape == (20, 48, 3)
    assert (rejected["broken.png"]["picture"], rejected["broken.png"]["tiles"]) == (None, 0)


def test_tiles_show_the_frames_they_name(tmp_path: Path):
    root = tmp_path / "media"
    levels = np.arange(0, 240, 20, dtype=np.uint8)
    media.write_lossless_mp4(root / "a.mp4", np.tile(levels[:, None, None, None], (1, 40, 48, 3)), 16)
    (root / "a.txt").write_text("a")
    (row,) = sheet(root)["rows"]
    shown = picture(tmp_path / "sheet", row)
    seen = [int(shown[:, 48 * n : 48 * n + 48].mean().round()) for n in range(3)]
    assert seen == [pytest.approx(levels[frame], abs=2) for frame in row["frames"]]


def test_measures_of_all_that_could_be_decoded_are_counted(folder: Path):
    found = sheet(folder)["histograms"]
    assert {name: sum(count for _, count in counts) for name, counts in found.items()} == {
        "brightness": 7,
        "sharpness": 7,
        "motion": 1,
    }
    assert all(counts == sorted(counts) for counts in found.values())


def test_a_sheet_is_the_same_each_time_and_thumbnails_are_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch):
    sheet(folder)
    first = digests.of_folder(folder.parent / "sheet")

    def unexpected(*_: object) -> None:
        raise AssertionError("a thumbnail was made again")

    monkeypatch.setattr(media, "jpeg", unexpected)
    sheet(folder, "again")
    assert digests.of_folder(folder.parent / "again") == first
    kept = folder.parent / "work" / "pictures" / "s"
    before = len(list(kept.iterdir()))
    (folder / "0.png").unlink()
    (folder / "0.txt").unlink()
    sheet(folder, "fewer")
    assert len(list(kept.iterdir())) == before - 2  # the thumbnail and how it is laid out


def test_no_more_than_the_page_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sheets, "ROWS", 3)
    monkeypatch.setattr(sheets, "REJECTED", 2)
    root = tmp_path / "media"
    for n in range(8):
        image(root / f"{n}.png", seed=n)
        image(root / f"small{n}.png", height=20)
        (root / f"{n}.txt").write_text("a")
    found = sheet(root)
    ids = sorted(row.id for row in manifest.read(tmp_path / "work" / "manifest"))
    assert [row["id"] for row in found["rows"]] == ids[:3]
    assert len(found["rejected"]) == 2


def test_what_is_drawn_has_pictures_and_prompts_have_none(tmp_path: Path):
    values = {"kind": "digits", "path": "p", "size": 32, "draws": [{"frames": 5, "per_scan": 1}]}
    digits, made = records.parse(DigitsParams, values, origin="test"), Sheets()
    rows, _ = preparing.columns("d", digits)
    for _ in made.over(rows):
        pass
    made.write(tmp_path / "d", "d", digits, [], tmp_path / "made")
    found = files.read_json(tmp_path / "d" / sheets.FILE)["rows"]
    assert len(found) == sheets.ROWS
    assert {(tuple(row["tile"]), row["tiles"]) for row in found} == {((32, 32), 3)}
    (tmp_path / "prompts.txt").write_text("one\ntwo\n")
    split = {"seed": 0, "validation": 0.0, "test": 0.0}
    prompts = records.parse(
        PromptsParams, {"kind": "prompts", "path": str(tmp_path / "prompts.txt"), "split": split}, origin="test"
    )
    made = Sheets()
    for _ in made.over(preparing.columns("p", prompts)[0]):
        pass
    made.write(tmp_path / "p", "p", prompts, [], tmp_path / "made")
    found = files.read_json(tmp_path / "p" / sheets.FILE)["rows"]
    assert [(row["picture"], row["frames"]) for row in found] == [(None, []), (None, [])]


@pytest.fixture
def prompts(tmp_path: Path) -> PromptsParams:
    """A source of which nothing can be seen."""
    (tmp_path / "prompts.txt").write_text("".join(f"prompt {number}\n" for number in range(200)))
    split = {"seed": 0, "validation": 0.0, "test": 0.0}
    return records.parse(
        PromptsParams, {"kind": "prompts", "path": str(tmp_path / "prompts.txt"), "split": split}, origin="test"
    )


def test_rows_with_the_smallest_ids_are_kept_whatever_part_they_come_in(prompts: PromptsParams, tmp_path: Path):
    rows = [
        dataclasses.replace(row, frames=1 + 4 * (place % 2), height=32, width=32)
        for place, row in enumerate(preparing.rows("p", prompts)[0])
    ]
    made, parts = Sheets(), [Columns.of(Row, rows[start : start + 16]) for start in range(0, 200, 16)]
    assert list(made.over(parts)) == parts
    made.write(tmp_path / "sheet", "p", prompts, [], tmp_path / "made")
    found = [row["id"] for row in files.read_json(tmp_path / "sheet" / sheets.FILE)["rows"]]
    assert found == [name for odd in (0, 1) for name in sorted(row.id for row in rows[odd::2])[: sheets.ROWS]]


def test_measures_are_counted_by_their_first_two_digits(prompts: PromptsParams, tmp_path: Path):
    drawn = np.random.default_rng(0)
    values = [*drawn.uniform(0, 255, 2000), *(10 ** drawn.uniform(-12, 6, 2000)), *np.arange(400) / 8, 0.095, 1e-300]
    facts: dict[str, Any] = {"medium": "clip", "key": "", "content": "", "hashes": b"", "brightness": 1.0}
    seen = [
        Seen(locator=str(place), sharpness=-float(value), motion=float(value), **facts)
        for place, value in enumerate(values)
    ]
    made = Sheets()
    made.look(Columns.of(Seen, seen))
    made.write(tmp_path / "sheet", "p", prompts, [], tmp_path / "made")
    counts = sorted(collections.Counter(float(f"{value:.2g}") for value in values).items())
    found = files.read_json(tmp_path / "sheet" / sheets.FILE)["histograms"]
    assert found["brightness"] == [[1.0, len(values)]]
    assert found["motion"] == [[value, count] for value, count in counts]
    assert found["sharpness"] == [[-value, count] for value, count in reversed(counts)]
