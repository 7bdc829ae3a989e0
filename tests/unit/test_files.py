import errno
import json
import os

import pytest

from frostline import files
from frostline.errors import Refused, WrongUse


class PowerCut(Exception):
    """What stops a writer in the middle."""


def write_half(path):
    with files.replacing(path) as beside:
        beside.write_text("half of the new")
        raise PowerCut


def fill_half(path):
    with files.new_folder(path) as beside:
        (beside / "new").touch()
        raise PowerCut


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "file.json"
    files.write_json(path, {"b": 1, "a": [2]})
    with pytest.raises(PowerCut):
        write_half(path)
    assert json.loads(path.read_text()) == {"a": [2], "b": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_equal_values_are_equal_bytes(tmp_path):
    files.write_json(tmp_path / "one", {"b": 1, "a": "ü"})
    files.write_json(tmp_path / "two", {"a": "ü", "b": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o644


def test_a_new_folder_takes_the_place_of_the_old_one(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with files.new_folder(tmp_path / "out") as beside:
        (beside / "new").touch()
        assert (tmp_path / "out" / "old").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    for name in (".out.k1lled", ".out.old", ".output.other"):
        (tmp_path / name).mkdir()
    with files.new_folder(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".output.other", "out"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(PowerCut):
        fill_half(tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


@pytest.mark.parametrize(("content", "says"), [(None, "no such file"), (b"{", "not a JSON"), (b"\xff", "not a JSON")])
def test_a_json_file_that_cannot_be_read_is_named(tmp_path, content, says):
    path = tmp_path / "facts.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongUse, match=says) as caught:
        files.read_json(path)
    assert str(path) in str(caught.value)


def disk_full(path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([str(path)] if path else []))


@pytest.mark.parametrize("named", ["", "out/a", "out", "out/.a.beside", "out/below/b"])
def test_what_cannot_be_written_is_refused_by_its_path(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(Refused, match=r"^out/a: cannot be written: No space left on device; make room"),
        files.written("out/a"),
    ):
        disk_full(tmp_path / named if named else None)


def test_an_error_of_what_is_read_meanwhile_is_not_taken_for_one_of_writing(tmp_path):
    with pytest.raises(PermissionError, match="in/a"), files.written(tmp_path / "out" / "a"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "in" / "a"))
