"""Captions without media: rows that show nothing."""

from pathlib import Path

import pytest

from frostline import errors, manifest, records
from frostline.params.sources import PromptsParams, SplitParams
from frostline.sources import preparing, reading

SPLIT = {"seed": 0, "validation": 0.2, "test": 0.2}


def settings(path: Path) -> PromptsParams:
    return records.parse(PromptsParams, {"kind": "prompts", "path": str(path), "split": SPLIT}, origin="test")


def test_every_prompt_is_a_row_that_stays_wherever_it_stands(tmp_path: Path):
    path = tmp_path / "prompts.txt"
    lines = [f"a cat with {n} tails" for n in range(60)]
    path.write_text("\n".join(lines))
    found, rejected = preparing.rows("p", settings(path))
    rows = list(found)
    assert rejected == []
    assert [row.captions for row in rows] == [(line,) for line in lines]
    assert {row.medium for row in rows} == {"prompt"}
    assert {row.bucket for row in rows} == {(0, 0, 0)}
    assert {row.split for row in rows} == {"train", "validation", "test"}
    path.write_text("\n".join(lines[::-1]) + "\n\n")
    again, _ = preparing.rows("p", settings(path))
    assert {(row.id, row.split, row.captions) for row in again} == {(row.id, row.split, row.captions) for row in rows}


def test_they_are_written_and_counted_as_prompts(tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("one\ntwo\n")
    values = settings(tmp_path / "prompts.txt").model_copy(
        update={"split": SplitParams(seed=0, validation=0.0, test=0.0)}
    )
    rows, rejected = preparing.rows("p", values)
    summary = manifest.write(tmp_path / "p", rows, rejected)
    assert summary["buckets"] == {"prompts": {"train": 2, "validation": 0, "test": 0}}
    preparing.require_usable("p", values, summary, rejected)
    (first, _) = manifest.read(tmp_path / "p")
    with pytest.raises(errors.WrongUse, match="has no pixels"):
        reading.pixels(values, first)


def test_an_empty_list_is_refused(tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("\n")
    values = settings(tmp_path / "prompts.txt")
    with pytest.raises(errors.WrongUse, match="source 'p' is empty"):
        preparing.require_usable("p", values, manifest.summarise(preparing.rows("p", values)[0], []), [])
