"""Rows that are remembered are those that would be made: whatever happens to a folder, warm is cold."""

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline import files, manifest, media
from frostline.params.sources import AnyMediaParams
from frostline.sources import preparing, remembering
from frostline.sources.sheets import Sheets
from tests.unit.sources.conftest import clip, folder_params, image, noise, sidecar_params

CHANGES: dict[str, Any] = {
    "filters": {"duplicate_distance": 4, "keep_duplicates": False, "minimum_side": 30, "caption_characters": [2, 1000]},
    "split": {"seed": 0, "validation": 0.3, "test": 0.3},
    "buckets": [[1, 32, 32], [5, 32, 32]],
}
STEPS = 12


class Prepared:
    """Prepares a folder as the stage does, and notes how many media were looked at."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.looked_at = 0

    def _entries(self, entries: Sequence[Any]) -> Sequence[Any]:
        self.looked_at += len(entries)
        return entries

    def of(self, settings: AnyMediaParams, *, verify: bool = False) -> dict[str, bytes]:
        """All files of the manifest and of the sheet."""
        self.looked_at, made, out = 0, Sheets(), self._root / "out"
        means = preparing.Means(work=self._root / "work", progress=self._entries, look=made.look, verify=verify)
        rows, rejected = preparing.columns("s", settings, means)
        manifest.write_columns(out / "manifest", made.over(rows), rejected)
        made.write(out / "sheet", "s", settings, rejected, means.pictures("s"))
        return {file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def cold(settings: AnyMediaParams, root: Path) -> dict[str, bytes]:
    """The same with nothing remembered but thumbnails."""
    for kept in ("probes", "rows", "texts"):
        shutil.rmtree(root / "work" / kept, ignore_errors=True)
    return Prepared(root).of(settings)


class Sidecars:
    """A folder of captions beside media."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = sidecar_params(root, **CHANGES)

    def describe(self, name: str, caption: str | None) -> None:
        text = (self.root / name).with_suffix(".txt")
        text.unlink(missing_ok=True) if caption is None else text.write_text(caption)


class Metadata:
    """A folder with a table; some media are of one item."""

    def __init__(self, root: Path) -> None:
        self.root = root
        changes: dict[str, Any] = CHANGES | {"buckets": [[1, 32, 32]]}
        self.settings = folder_params(root, **changes)
        self._lines: dict[str, dict[str, Any]] = {}
        self._write()

    def describe(self, name: str, caption: str | None) -> None:
        self._lines.pop(name, None)
        if caption is not None:
            item = {"item": f"item {len(caption) % 3}"} if len(caption) % 4 == 0 else {}
            self._lines[name] = {"file_name": name, "text": caption, **item}
        self._write()

    def _write(self) -> None:
        self.root.mkdir(exist_ok=True)
        lines = [json.dumps(line) + "\n" for line in self._lines.values()]
        (self.root / "metadata.jsonl").write_text("".join(lines))


Folder = Sidecars | Metadata


def change(folder: Folder, dice: random.Random) -> None:
    """One thing that happens to folders."""
    seed, name = dice.randrange(1 << 30), f"{dice.choice('abc')}/{dice.randrange(1000)}.png"
    there = sorted(file for file in folder.root.rglob("*.*") if file.suffix in (".png", ".mp4"))
    some = dice.choice(there)
    some_name = some.relative_to(folder.root).as_posix()
    match dice.randrange(13):
        case 0 | 1:
            image(folder.root / name, seed)
            folder.describe(name, f"a picture {'.' * dice.randrange(9)}")
        case 2:
            (folder.root / name).parent.mkdir(exist_ok=True)
            shutil.copy(some, folder.root / name)
            folder.describe(name, "a copy")
        case 3 if some.suffix == ".png":
            pixels = noise(1, seed=seed)[0]
            media.write_png(some, pixels)
            pixels[3, 3] = 255 - pixels[3, 3]
            media.write_png(folder.root / name, pixels)
            folder.describe(name, "looks like another")
        case 4:
            some.unlink()
            folder.describe(some_name, None)
        case 5:
            folder.describe(some_name, dice.choice(["other words", "?", None]))
        case 6:
            some.rename(some.with_name(f"renamed {seed}{some.suffix}"))
        case 7:
            some.write_bytes(b"nothing to be seen")
        case 8:
            image(folder.root / name, seed, height=20)
        case 9:
            clip(folder.root / f"{seed}.mp4", 12, seed)
            folder.describe(f"{seed}.mp4", "a clip")
        case 10:
            (folder.root / f"{name}.txt").write_text("of a medium that is not there")
        case 11:
            some.with_suffix(".txt").write_bytes(b"\xff\xfe no text")
        case _:
            os.utime(some, ns=(seed, seed))


@pytest.mark.parametrize("kind", [Sidecars, Metadata])
@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_what_is_remembered_is_what_would_be_made(
    tmp_path: Path, kind: Callable[[Path], Folder], seed: int
):
    dice, folder = random.Random(seed), kind(tmp_path / "media")  # noqa: S311 - what happens to a folder is no secret
    for number in range(12):
        image(folder.root / "a" / f"{number}.png", 100 + number)
        folder.describe(f"a/{number}.png", f"picture {'!' * number}")
    warm, few = Prepared(tmp_path / "warm"), 0
    for _ in range(STEPS):
        assert warm.of(folder.settings) == cold(folder.settings, tmp_path / "cold")
        few += warm.looked_at < 6
        for _ in range(dice.randrange(3)):
            change(folder, dice)
    assert few >= STEPS // 4


@pytest.fixture
def folder(tmp_path: Path) -> Sidecars:
    """Six images that have nothing to do with each other."""
    found = Sidecars(tmp_path / "media")
    for number in range(6):
        image(found.root / f"{number}.png", number)
        found.describe(f"{number}.png", f"picture {number}")
    return found


def test_only_what_was_touched_is_looked_at(folder: Sidecars, tmp_path: Path):
    warm = Prepared(tmp_path / "warm")
    counts: list[int] = []
    for happens in (
        lambda: None,
        lambda: None,
        lambda: image(folder.root / "new.png", 77),
        lambda: folder.describe("new.png", "new words"),
        (folder.root / "3.png").unlink,
    ):
        happens()
        assert warm.of(folder.settings) == cold(folder.settings, tmp_path / "cold")
        counts.append(warm.looked_at)
    assert counts == [6, 0, 1, 1, 1]


def test_what_is_tied_to_others_is_made_with_all(folder: Sidecars, tmp_path: Path):
    warm = Prepared(tmp_path / "warm")
    warm.of(folder.settings)
    shutil.copy(folder.root / "3.png", folder.root / "0 copy.png")
    folder.describe("0 copy.png", "a copy")
    assert warm.of(folder.settings) == cold(folder.settings, tmp_path / "cold")
    assert warm.looked_at == 1 + 7
    (folder.root / "0 copy.png").unlink()
    assert warm.of(folder.settings) == cold(folder.settings, tmp_path / "cold")
    assert warm.looked_at == 6 + 0


def test_other_params_a_damaged_table_and_verify_make_all(
    folder: Sidecars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    warm = Prepared(tmp_path / "warm")
    warm.of(folder.settings)
    other = sidecar_params(folder.root, **(CHANGES | {"buckets": [[1, 16, 16], [5, 32, 32]]}))
    assert warm.of(other) == cold(other, tmp_path / "cold")
    assert warm.looked_at == 6
    warm.of(other, verify=True)
    assert warm.looked_at == 6
    kept = tmp_path / "warm" / "work" / "rows" / "s" / remembering.MEDIA
    kept.write_bytes(kept.read_bytes()[:-1])
    assert warm.of(other) == cold(other, tmp_path / "cold")
    assert warm.looked_at == 6
    monkeypatch.setattr(remembering, "MOST", 1)
    for number in range(2):
        os.utime(folder.root / f"{number}.png", ns=(1, 1))
    warm.of(other)
    assert warm.looked_at == 6


def test_texts_are_read_again_when_they_change(folder: Sidecars, tmp_path: Path):
    warm = Prepared(tmp_path / "warm")
    warm.of(folder.settings)
    text = folder.root / "3.txt"
    text.write_text("words 3")  # as long as the words before
    warm.of(folder.settings)
    rows = {row.locator: row.captions for row in manifest.read(tmp_path / "warm" / "out" / "manifest")}
    assert rows["3.png"] == ("words 3",)
    assert files.read_json(tmp_path / "warm" / "out" / "manifest" / "manifest.json")["rows"] == 6


def test_hashes_are_compared_within_a_kind(tmp_path: Path):
    image(tmp_path / "media" / "a.png", 1)
    (tmp_path / "media" / "a.txt").write_text("still")
    settings, warm = sidecar_params(tmp_path / "media", **CHANGES), Prepared(tmp_path / "warm")
    warm.of(settings)
    media.write_lossless_mp4(tmp_path / "media" / "b.mp4", np.repeat(noise(1, seed=1), 12, axis=0), 16)
    (tmp_path / "media" / "b.txt").write_text("moving")
    assert warm.of(settings) == cold(settings, tmp_path / "cold")
    assert warm.looked_at == 1
