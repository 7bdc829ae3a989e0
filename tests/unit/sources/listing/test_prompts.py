"""Lists of prompts."""

from pathlib import Path

import pytest

from frostline import errors
from frostline.sources.listing import prompts
from tests.unit.sources.listing.conftest import write


def test_prompts_stand_a_line_each(tmp_path: Path):
    write(tmp_path, {"p.txt": b"\xef\xbb\xbf a cat \r\n\nun caf\xc3\xa9\xe2\x80\xa8noir"})
    assert prompts.read(f"{tmp_path}/p.txt") == ["a cat", "un café\u2028noir"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\nb\n a\n", r"p.txt:3: 'a' stands in line 1 already"),
        (b"caf\xe9", r"p.txt: not UTF-8 at byte 3"),
        ("a".encode("utf-16"), r"p.txt: it is UTF-16"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, data: bytes, message: str):
    write(tmp_path, {"p.txt": data})
    with pytest.raises(errors.WrongUse, match=message):
        prompts.read(f"{tmp_path}/p.txt")


def test_a_missing_list_is_named():
    with pytest.raises(errors.WrongUse, match=r"nowhere.txt: no such file"):
        prompts.read("nowhere.txt")
