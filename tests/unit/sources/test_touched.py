"""What was touched is seen, whatever it was; what was not is not even listed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from frostline.params.sources import AnyMediaParams
from frostline.sources import preparing, touched
from frostline.sources.touched import ByFile, ByMedium, Stamps, Touched
from tests.unit.sources.conftest import Describe, folder_params, sidecar_params


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Media with captions beside them; nobody looks into them here."""
    root = tmp_path / "media"
    for name in ("a.png", "a.gif", "a.txt", "b.png", "b.txt", "x/a.png", "x/a.txt", "x/b.png", "x/y/c.png", "notes.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def look(settings: AnyMediaParams) -> ByFile | ByMedium:
    return touched.look("s", settings, preparing.Means(work=Path(settings.path).parent / "work"))


def kept(settings: AnyMediaParams, *, but: str = "") -> tuple[Stamps, set[str]]:
    """What is kept where all media could be decoded but one, and which it tells of."""
    now = look(settings)
    stamps, media = now.stamps({entry.locator for entry in now.all().entries} - {but})
    return dict(zip(stamps.values("name"), stamps.values("stamp"), strict=True)), media


def names(found: Touched) -> tuple[list[str], set[str]]:
    """Of what is to be looked at, and of the media that are not as they were."""
    return [entry.locator for entry in found.entries], {name for name in found.names if Path(name).suffix != ".txt"}


A, BELOW_X = ["a.gif", "a.png"], {"x/a.png", "x/b.png", "x/y/c.png"}
CHANGES: dict[str, tuple[Callable[[Path], object], list[str], set[str]]] = {
    "nothing": (lambda _: None, [], set()),
    "a medium": (lambda root: (root / "x/a.png").write_text("other"), ["x/a.png"], {"x/a.png"}),
    "its time": (lambda root: os.utime(root / "x/a.png", ns=(1, 1)), ["x/a.png"], {"x/a.png"}),
    "as large": (lambda root: (root / "x/a.png").write_text("X/A.PNG"), ["x/a.png"], {"x/a.png"}),
    "a caption": (lambda root: (root / "a.txt").write_text("b.txt"), A, set(A)),
    "one less": (lambda root: (root / "a.txt").unlink(), A, set(A)),
    "one more": (lambda root: (root / "x/b.txt").write_text("words"), ["x/b.png"], {"x/b.png"}),
    "of two": (lambda root: (root / "a.gif").unlink(), ["a.png"], set(A)),
    "with two": (lambda root: (root / "b.jpg").write_text("new"), ["b.jpg", "b.png"], {"b.png"}),
    "a medium more": (lambda root: (root / "x/new.png").write_text("new"), ["x/new.png"], set()),
    "a folder": (lambda root: (root / "x").rename(root / "z"), ["z/a.png", "z/b.png", "z/y/c.png"], BELOW_X),
    "a folder less": (lambda root: [(root / "x/y/c.png").unlink(), (root / "x/y").rmdir()], [], {"x/y/c.png"}),
    "a name": (lambda root: (root / "x/y/c.png").rename(root / "x/y/d.png"), ["x/y/d.png"], {"x/y/c.png"}),
    "no medium": (lambda root: (root / "notes.md").write_text("more"), [], set()),
    "a hidden file": (lambda root: (root / ".hidden.png").write_text("new"), [], set()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_files_of_which_one_was_touched_are_listed_and_no_others(folder: Path, what: str):
    settings = sidecar_params(folder)
    stamps, media = kept(settings)
    assert media == {"a.gif", "a.png", "b.png", "x/a.png", "x/b.png", "x/y/c.png"}
    change, entries, gone = CHANGES[what]
    change(folder)
    found = look(settings).since(stamps)
    whole = {entry.locator: entry for entry in look(settings).all().entries}
    assert found.entries == [whole[name] for name in entries]
    assert names(found)[1] & media == gone
    assert not found.rejected


def test_a_folder_that_is_listed_in_another_order_is_the_same(folder: Path):
    settings = sidecar_params(folder)
    stamps, _ = kept(settings)
    turned = {name: "".join(reversed(lines.splitlines(keepends=True))) for name, lines in stamps.items()}
    assert turned != stamps
    assert names(look(settings).since(turned)) == ([], set())


def test_what_could_not_be_taken_is_looked_at_each_time(folder: Path):
    (folder / "alone.txt").write_text("of nothing")
    (folder / "b.txt").write_bytes(b"\xff\xfe")
    settings = sidecar_params(folder)
    stamps, media = kept(settings, but="a.gif")
    assert media == {"x/a.png", "x/b.png", "x/y/c.png"}
    found = look(settings).since(stamps)
    assert names(found) == (A, set())
    assert [(entry.locator, entry.reason) for entry in found.rejected] == [
        ("alone.txt", "no_media"),
        ("b.png", "caption_unreadable"),
    ]
    assert found.rejected == look(settings).all().rejected


def test_media_of_other_sources_are_listed_and_known_by_all_that_is_said_of_them(describe: Describe):
    lines = [{"file_name": f"{name}.png", "text": name} for name in "abc"]
    root = describe(lines)
    for name in "abcd":
        (root / f"{name}.png").write_text(name)
    settings = folder_params(root)
    stamps, media = kept(settings, but="c.png")
    assert media == {"a.png", "b.png", "d.png"}
    assert names(look(settings).since(stamps)) == (["c.png"], set())
    lines[1]["text"] = "other words"
    describe(lines)
    (root / "d.png").unlink()
    assert names(look(settings).since(stamps)) == (["b.png", "c.png"], {"b.png", "d.png"})
