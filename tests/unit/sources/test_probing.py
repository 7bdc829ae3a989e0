"""What is known of media is found again by name and by content; nothing is believed that can be wrong."""

import dataclasses
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from frostline import digests, media
from frostline.manifest import Rejected
from frostline.media import Probe
from frostline.media.workers import Task, Workers
from frostline.sources import listing, probing
from frostline.sources.entries import Entry
from tests.unit.sources.conftest import clip, image, noise, sidecar_params

Found = list[tuple[str, Probe | Rejected]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What workers are asked for, as it happens: (wanted, name of the file)."""
    seen: list[tuple[str, str]] = []
    give = Workers.give

    def noted(self: Workers, number: int, task: Task) -> None:
        seen.append((task.wanted, Path(task.blobs[0].path).name))
        give(self, number, task)

    monkeypatch.setattr(Workers, "give", noted)
    return seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, a clip, a broken file."""
    root = tmp_path / "media"
    for n in range(3):
        image(root / f"{n}.png", seed=n)
    clip(root / "c.mp4", 6)
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    return root


def entries(root: Path) -> Sequence[Entry]:
    return listing.read("s", sidecar_params(root)).entries


def probe(root: Path, *, processes: int = 0, verify: bool = False, **changes: Any) -> Found:
    cache = root.parent / "work" / "probes.sqlite"
    settings = sidecar_params(root, **changes)
    found = probing.probe_all("s", entries(root), settings, cache, processes, verify=verify)
    return [(entry.locator, what) for entry, what in found]


def test_outcomes_come_in_the_order_of_entries_and_are_what_a_probe_says(folder: Path):
    found = probe(folder)
    assert [name for name, _ in found] == ["0.png", "1.png", "2.png", "broken.jpg", "c.mp4"]
    limits, scenes = probing.limits_of(sidecar_params(folder))
    for entry, (name, what) in zip(entries(folder), found, strict=True):
        if name == "broken.jpg":
            assert isinstance(what, Rejected)
            assert (what.source, what.locator, what.reason) == ("s", name, "unreadable")
            assert what.detail.startswith("broken.jpg: ")
        else:
            assert what == media.probe(entry.blobs, None, limits, scenes)


def test_what_is_known_is_not_opened_again(folder: Path, asked: list[tuple[str, str]]):
    before = probe(folder)
    assert {wanted for wanted, _ in asked} == {"probe"}
    asked.clear()
    assert probe(folder) == before
    assert asked == []


def test_a_new_file_alone_is_read(folder: Path, asked: list[tuple[str, str]]):
    before = probe(folder)
    asked.clear()
    image(folder / "1a.png", seed=77)
    found = probe(folder)
    assert [what for what in found if what[0] != "1a.png"] == before
    assert asked == [("content", "1a.png"), ("probe", "1a.png")]


def test_a_touched_moved_or_copied_file_is_read_but_not_decoded(folder: Path, asked: list[tuple[str, str]]):
    before = dict(probe(folder))
    asked.clear()
    os.utime(folder / "0.png")
    (folder / "1.png").rename(folder / "9.png")
    (folder / "8.png").write_bytes((folder / "2.png").read_bytes())
    (folder / "also.jpg").write_bytes((folder / "broken.jpg").read_bytes())
    found = dict(probe(folder))
    assert {wanted for wanted, _ in asked} == {"content"}
    assert (found["0.png"], found["9.png"], found["8.png"]) == (before["0.png"], before["1.png"], before["2.png"])
    also, broken = found["also.jpg"], before["broken.jpg"]
    assert isinstance(also, Rejected)
    assert isinstance(broken, Rejected)
    assert also.detail == broken.detail.replace("broken.jpg", "also.jpg")
    asked.clear()
    assert dict(probe(folder)) == found
    assert asked == []


def test_a_changed_file_is_decoded_again(folder: Path, asked: list[tuple[str, str]]):
    before = dict(probe(folder))
    asked.clear()
    image(folder / "1.png", seed=9)
    found = dict(probe(folder))
    assert asked == [("content", "1.png"), ("probe", "1.png")]
    assert found["1.png"] != before["1.png"]


def test_wrong_times_fool_a_plain_run_but_not_verify(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A file system that keeps no times: the same stamp for other bytes."""
    monkeypatch.setattr(probing, "stamp_of", lambda entry: "always the same")
    before = dict(probe(folder))
    image(folder / "1.png", seed=9)
    assert dict(probe(folder)) == before
    verified = dict(probe(folder, verify=True))
    changed = verified.pop("1.png")
    assert isinstance(changed, Probe)
    assert changed != before.pop("1.png")
    assert verified == before
    assert dict(probe(folder))["1.png"] == changed  # and is known from now on


def test_verify_decodes_nothing_that_did_not_change(folder: Path, asked: list[tuple[str, str]]):
    before = probe(folder)
    asked.clear()
    assert probe(folder, verify=True) == before
    assert {wanted for wanted, _ in asked} == {"content"}
    assert len(asked) == 5


def test_other_limits_are_other_probes(folder: Path, asked: list[tuple[str, str]]):
    before = probe(folder)
    asked.clear()
    strict = dict(probe(folder, max_pixels=100))
    assert {what.reason for what in strict.values() if isinstance(what, Rejected)} == {"too_many_pixels", "unreadable"}
    assert {wanted for wanted, _ in asked} == {"probe"}
    assert probe(folder) == before


def test_bytes_that_name_no_stamp_are_read_each_time(folder: Path, asked: list[tuple[str, str]]):
    blobless = [entry for entry in entries(folder) if entry.locator == "0.png"]
    bare = [_without_stamp(entry) for entry in blobless]
    cache = folder.parent / "probes.sqlite"
    for wanted in ([("probe", "0.png")], [("content", "0.png")]):
        asked.clear()
        list(probing.probe_all("s", bare, sidecar_params(folder), cache, 0, verify=False))
        assert asked == wanted


def _without_stamp(entry: Entry) -> Entry:
    return dataclasses.replace(entry, blobs=tuple(blob._replace(stamp="") for blob in entry.blobs))


@pytest.mark.parametrize("damage", [b"", b"no table", b"SQLite format 3\0" + bytes(200)])
def test_a_damaged_table_is_made_again(folder: Path, damage: bytes):
    before = probe(folder)
    cache = folder.parent / "work" / "probes.sqlite"
    cache.write_bytes(damage)
    assert probe(folder) == before
    assert probe(folder) == before


def test_a_killed_run_loses_little(folder: Path, asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probing, "EVERY", 1)
    cache = folder.parent / "work" / "probes.sqlite"
    monkeypatch.setattr(probing, "AHEAD", 1)
    running = probing.probe_all("s", entries(folder), sidecar_params(folder), cache, 0, verify=False)
    for _ in range(3):
        next(running)
    with sqlite3.connect(cache) as store:
        assert store.execute("select count(*) from probes").fetchone()[0] >= 3
    running.close()
    asked.clear()
    assert len(probe(folder)) == 5
    assert len([1 for wanted, _ in asked if wanted == "probe"]) <= 2


@pytest.mark.parametrize("processes", [1, 3])
def test_processes_change_nothing(folder: Path, processes: int):
    before = probe(folder)
    other = folder.parent / "other.sqlite"
    found = probing.probe_all("s", entries(folder), sidecar_params(folder), other, processes, verify=False)
    assert [(entry.locator, what) for entry, what in found] == before


def test_many_entries_go_through_a_narrow_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probing, "AHEAD", 3)
    monkeypatch.setattr(probing, "EVERY", 4)
    for n in range(40):
        image(tmp_path / "media" / f"{n:02d}.png", seed=n % 20)
    once = probe(tmp_path / "media")
    assert [name for name, _ in once] == [f"{n:02d}.png" for n in range(40)]
    for n in range(0, 40, 3):
        image(tmp_path / "media" / f"{n:02d}.png", seed=100 + n)
    again = probe(tmp_path / "media", processes=2)
    assert [name for name, _ in again] == [f"{n:02d}.png" for n in range(40)]
    assert [one == other for one, other in zip(once, again, strict=True)] == [n % 3 != 0 for n in range(40)]


def test_the_revision_of_probes_is_raised_when_they_change(tmp_path: Path):
    """Where this fails because measures changed: raise probing.REVISION with the numbers, or old ones are found."""
    root = tmp_path / "media"
    media.write_png(root / "a.png", noise(1, 64, 64)[0])
    clip(root / "b.mp4", 24)
    measured = [what.measures for _, what in probe(root) if isinstance(what, Probe)]
    assert probing.REVISION == 1
    shown = [[one.brightness, one.sharpness, one.motion, one.hashes] for one in measured]
    assert digests.of_json(shown) == "7a481878140632b69ec7545f7bbe6abf"
