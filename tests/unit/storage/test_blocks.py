"""Blocks of objects on a local disk: fetched once, never mixed, never torn, never more than the bound."""

import os
import pickle
import random
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frostline import errors, storage
from frostline.storage import blocks
from tests import processes
from tests.object_store import Put, ask
from tests.relay import Relay
from tests.waiting import SECONDS, until

pytest_plugins = ["tests.servers"]

SIZE = 50_000  # of a block, here
DATA = random.Random(0).randbytes(10 * SIZE + 123)  # noqa: S311 - the same in every process
ALL = [(0, len(DATA))]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SIZE", SIZE)


@pytest.fixture
def entry(bucket: str, put: Put) -> storage.Blob:
    put("a", DATA)
    return storage.blob(f"s3://{bucket}", "a")


def held(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def right(reader: storage.Reader, seed: int, count: int = 5) -> bool:
    draw = random.Random(seed)  # noqa: S311
    wanted = [(place := draw.randrange(len(DATA)), draw.randrange(len(DATA) - place + 1)) for _ in range(count)]
    return storage.read(reader, wanted) == [DATA[place : place + length] for place, length in wanted]


def test_a_block_is_fetched_once_for_all_readers_and_processes(entry: storage.Blob, tmp_path: Path, relay: Relay):
    kept = storage.Blocks(tmp_path / "blocks", 99 * SIZE)
    reader = storage.reader(entry, kept)
    relay.requests.clear()
    wanted = [(3 * SIZE - 5, 10), (3 * SIZE - 1, 3), (10 * SIZE, 123), (7, 0)]
    assert storage.read(reader, wanted) == [DATA[place : place + length] for place, length in wanted]
    assert relay.said("GET") == ["GET a"] * 3  # blocks 2, 3 and 10
    assert storage.read(reader, ALL) == [DATA]
    assert relay.said("GET") == ["GET a"] * 11
    others = [storage.reader(entry, kept), pickle.loads(pickle.dumps(reader))]  # noqa: S301 - our own
    assert all(right(other, seed) for other in others for seed in range(5))
    assert all(processes.forked(right, reader, seed) for seed in range(5))
    with reader.open() as file:
        file.seek(SIZE - 3)
        assert file.read(9) == DATA[SIZE - 3 : SIZE + 6]
    assert len(relay.said("GET")) == 11
    assert sum(path.stat().st_size for path in held(tmp_path / "blocks")) == len(DATA)


def test_blocks_come_together_and_those_that_are_expected_before_they_are_read(
    entry: storage.Blob, tmp_path: Path, relay: Relay
):
    reader = storage.reader(entry, storage.Blocks(tmp_path, 99 * SIZE))
    with ThreadPoolExecutor(1) as beside, relay.holding():
        reader.expect([(0, 2 * SIZE), (5 * SIZE, 1)])  # does not wait for them
        until(lambda: relay.most_waiting == 3)
        reading = beside.submit(storage.read, reader, ALL)
        until(lambda: relay.most_waiting == 11)
    assert reading.result() == [DATA]  # those that were coming were not asked for again
    assert len(relay.said("GET")) == relay.most_waiting == 11
    reader.expect(ALL)
    assert len(relay.said("GET")) == 11
    assert storage.read(reader, ALL) == [DATA]


def test_what_is_expected_in_vain_is_said_when_it_is_read(entry: storage.Blob, tmp_path: Path, bucket: str):
    reader = storage.reader(entry, storage.Blocks(tmp_path, 99 * SIZE))
    ask("delete_object", Bucket=bucket, Key="a")
    reader.expect(ALL)
    with pytest.raises(storage.Gone, match=f"^s3://{bucket}/a: no such object"):
        storage.read(reader, [(0, 1)])
    assert held(tmp_path) == []


def test_a_replaced_object_has_blocks_of_its_own(entry: storage.Blob, bucket: str, put: Put, tmp_path: Path):
    kept = storage.Blocks(tmp_path, 99 * SIZE)
    before = storage.reader(entry, kept)
    assert storage.read(before, [(0, SIZE)]) == [DATA[:SIZE]]
    put("a", DATA[::-1])
    with pytest.raises(storage.Changed, match="/a: another object than when it was listed"):
        storage.read(before, [(0, 1), (SIZE, 1)])
    after = storage.reader(storage.Blob(entry.path, 0, len(DATA), ""), kept)  # looked at here
    assert storage.read(after, ALL) == [DATA[::-1]]
    assert storage.read(before, [(0, SIZE)]) == [DATA[:SIZE]]  # as it was, from the disk
    part = storage.blob(f"s3://{bucket}", "a").part(77, SIZE)
    assert storage.read(storage.reader(part, kept), [(0, SIZE)]) == [DATA[::-1][77 : 77 + SIZE]]


def test_torn_blocks_are_fetched_again(entry: storage.Blob, tmp_path: Path):
    reader = storage.reader(entry, storage.Blocks(tmp_path, 99 * SIZE))
    storage.read(reader, ALL)
    for number, path in enumerate(held(tmp_path)):
        os.truncate(path, number * 5_000)
    assert storage.read(reader, ALL) == [DATA]
    assert sum(path.stat().st_size for path in held(tmp_path)) == len(DATA)


def test_what_was_used_longest_ago_goes_and_nothing_that_is_no_block(entry: storage.Blob, tmp_path: Path, relay: Relay):
    (tmp_path / "mine").write_bytes(bytes(9 * SIZE))
    reader = storage.reader(entry, storage.Blocks(tmp_path, 6 * SIZE))
    places = [(number * SIZE, 9) for number in range(5)]
    for place in places:
        storage.read(reader, [place])
    for age, path in enumerate(sorted(tmp_path.glob("*.block"), reverse=True)):
        used = time.time() - 1000 - age
        os.utime(path, times=(used, used))  # block 0 was used longest ago
    storage.read(reader, [places[0]])
    storage.read(reader, [(number * SIZE, 9) for number in (7, 8)])
    relay.requests.clear()
    storage.read(reader, [places[0], (7 * SIZE, 9), (8 * SIZE, 9), places[4]])
    assert relay.said("GET") == []
    storage.read(reader, [places[1]])
    assert relay.said("GET") == ["GET a"]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.block")) <= 6 * SIZE
    assert (tmp_path / "mine").stat().st_size == 9 * SIZE


def test_leftovers_of_killed_writers_count_and_go(entry: storage.Blob, tmp_path: Path):
    reader = storage.reader(entry, storage.Blocks(tmp_path, 4 * SIZE))
    storage.read(reader, [(0, 9)])
    (block,) = held(tmp_path)
    leftover = tmp_path / f".{block.name}.123-456"
    leftover.write_bytes(bytes(3 * SIZE))
    os.utime(leftover, times=(0, 0))
    storage.read(storage.reader(entry, storage.Blocks(tmp_path, 4 * SIZE)), [(SIZE, 9)])
    assert not leftover.exists()
    assert len(held(tmp_path)) == 2


def hammer(entry: storage.Blob, folder: Path, seed: int) -> None:
    blocks.SIZE = SIZE  # in a process of its own
    reader = storage.reader(entry, storage.Blocks(folder, 3 * SIZE))
    assert all(right(reader, 100 * seed + number, count=2) for number in range(5))


def test_processes_that_take_each_others_blocks_away_read_what_is_right(entry: storage.Blob, tmp_path: Path):
    others = [processes.start(hammer, entry, tmp_path, n) for n in range(3)]
    for process in others:
        process.join(SECONDS)
    assert [process.exitcode for process in others] == [0, 0, 0]
    assert [path for path in held(tmp_path) if path.name.startswith(".")] == []
    assert sum(path.stat().st_size for path in held(tmp_path)) <= (3 + 2) * SIZE  # each may be writing the last of its


def test_folders_that_cannot_hold_blocks_are_named(entry: storage.Blob, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(errors.WrongUse, match=r"file/blocks: blocks of objects cannot be kept there \(Not a directory"):
        storage.reader(entry, storage.Blocks(tmp_path / "file" / "blocks", 2 * SIZE))
    reader = storage.reader(entry, storage.Blocks(tmp_path / "full", 2 * SIZE))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    try:
        with pytest.raises(
            errors.WrongUse, match=r"full: blocks of objects cannot be kept \(File too large\); make room"
        ):
            storage.read(reader, [(0, 1)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert held(tmp_path / "full") == []
    assert storage.read(reader, ALL) == [DATA]
    with pytest.raises(errors.WrongUse, match=f"a bound of 99999 bytes; give the blocks of objects {2 * SIZE} or more"):
        storage.Blocks(tmp_path, 99_999)
    with pytest.raises(storage.Changed, match=f"/a: ends before byte {len(DATA) + 1}"):
        storage.read(storage.reader(entry, storage.Blocks(tmp_path, 2 * SIZE)), [(len(DATA), 1)])
