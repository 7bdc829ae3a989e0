"""A reader of a local file brings exactly the bytes of ranges, in one system call each."""

import os
import pickle
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from frostline import storage
from tests import processes

DATA = os.urandom(10_000)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("local") / "data.bin"
    path.write_bytes(DATA)
    return path


@hypothesis.given(
    offset=strategies.integers(1, 9_000),
    wanted=strategies.lists(strategies.tuples(strategies.integers(0, 900), strategies.integers(0, 100)), max_size=9),
)
def test_ranges_of_a_part_are_its_bytes(file: Path, offset: int, wanted: list[tuple[int, int]]):
    part = storage.reader(storage.blob(str(file.parent), file.name).part(offset, 1000))
    data = DATA[offset : offset + 1000]
    part.expect(wanted)
    assert storage.read(part, wanted) == [data[place : place + length] for place, length in wanted]
    with part.open() as opened:
        assert opened.read() == data


def test_a_reader_goes_to_other_processes_and_stays_with_its_file(file: Path, tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    reader = storage.reader(storage.blob(str(tmp_path), "a"))
    assert storage.read(pickle.loads(pickle.dumps(reader)), [(1, 2)]) == [b"23"]  # noqa: S301 - our own
    assert processes.forked(storage.read, reader, [(3, 2)]) == [b"45"]
    path.unlink()
    path.write_bytes(b"abcde")
    assert storage.read(reader, [(0, 5)]) == [b"12345"]
    with reader.open() as opened:
        assert opened.read() == b"12345"


def test_what_ends_too_early_is_said_to_have_changed(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"123456789")
    whole = storage.blob(str(tmp_path), "a")
    part = storage.reader(whole.part(2, 3))
    with pytest.raises(storage.Changed, match="a: ends before byte 6; run again"):
        storage.read(part, [(0, 3), (1, 3)])
    reader = storage.reader(whole)
    os.truncate(path, 4)
    with pytest.raises(storage.Changed, match="a: ends before byte 5; run again"):
        storage.read(reader, [(0, 4), (3, 2)])
    with pytest.raises(storage.Changed, match="4 bytes, another size than when it was listed"):
        storage.reader(whole)
    path.unlink()
    with pytest.raises(storage.Gone, match="a: no such file"):
        storage.reader(whole)


def test_readers_leave_no_file_open(file: Path):
    def held() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = held()
    for _ in range(3):
        storage.read(storage.reader(storage.blob(str(file.parent), file.name)), [(0, 1)])
        with storage.blob(str(file.parent), file.name, 5).open() as part:
            assert part.read(1) == DATA[5:6]
    assert held() == before
