"""Batches read ahead: by processes that are told steps, in shares, from any step on."""

import errno
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from frostline import loading, records
from frostline.batches import Batches, Share
from frostline.errors import Refused, WrongUse
from frostline.params.trainings import BucketShare
from frostline.store import parts
from tests import tiny
from tests.waiting import until

STEPS = 12
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more readers than cores
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # readers compute nothing, and ask for no lock
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return tiny.data(tmp_path_factory.mktemp("loading"), several=2)


def batches(rows, size=8):
    bucket = records.parse(BucketShare, {"share": 0.5, "batch": size}, origin="x")
    return Batches(rows, buckets={tiny.IMAGES: bucket, tiny.CLIPS: bucket}, steps=STEPS, dropout=0.4, seed=0)


def same(one, other):
    tensors = ((one.clean, other.clean), (one.text, other.text), (one.dropped, other.dropped))
    return one.rows == other.rows and all(torch.equal(mine, theirs) for mine, theirs in tensors)


def merged(shares):
    """What the shares of one batch are together, in the order of its places."""
    return [row for place in itertools.zip_longest(*(share.rows for share in shares)) for row in place]


@pytest.mark.parametrize("readers", [0, 1, 2])
def test_batches_are_the_same_for_any_number_of_readers(rows, readers):
    expected = [batches(rows).at(step) for step in range(STEPS)]
    read = list(loading.read(batches(rows), 0, STEPS, readers=readers))
    assert len(read) == STEPS
    assert all(map(same, read, expected))


def test_bytes_stay_as_they_are_until_the_next_are_asked_for_however_far_readers_are_ahead(rows):
    expected = [batches(rows).at(step) for step in range(STEPS)]
    for stored, batch in zip(loading.read_bytes(batches(rows), 0, STEPS, readers=2), expected, strict=True):
        time.sleep(0.05)
        assert same(rows.finish(stored), batch)


@pytest.mark.parametrize(("world", "readers"), [(1, 0), (2, 0), (4, 0), (8, 0), (2, 2)])
def test_shares_make_up_every_batch_whatever_their_number(rows, world, readers):
    shares = [Share(rank=rank, world=world) for rank in range(world)]
    read = [list(loading.read(batches(rows), 0, STEPS, share=share, readers=readers)) for share in shares]
    for step, of_step in enumerate(zip(*read, strict=True)):
        whole = batches(rows).at(step)
        assert merged(of_step) == list(whole.rows)
        for share, batch in zip(shares, of_step, strict=True):
            places = list(share.places(8))
            assert torch.equal(batch.clean, whole.clean[places])
            assert torch.equal(batch.text, whole.text[places])
            assert torch.equal(batch.dropped, whole.dropped[places])


@pytest.mark.parametrize(("first", "readers"), [(0, 0), (5, 0), (5, 2), (STEPS, 0)])
def test_reading_goes_on_from_any_step(rows, first, readers):
    expected = [batches(rows).at(step) for step in range(first, STEPS)]
    read = list(loading.read(batches(rows), first, STEPS, readers=readers))
    assert len(read) == STEPS - first
    assert all(map(same, read, expected))


def test_a_batch_that_cannot_be_shared_evenly_is_wrong_use(rows):
    with pytest.raises(WrongUse, match=r"batch is 6, which 4 processes .* multiple of 4"):
        next(loading.read(batches(rows, size=6), 0, STEPS, share=Share(rank=0, world=4)))


@pytest.mark.parametrize("readers", [0, 2])
def test_the_global_random_state_stays_where_it_was(rows, readers):
    before = torch.random.get_rng_state()
    list(loading.read(batches(rows), 0, 2, readers=readers))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("readers", [0, 1])
def test_a_damaged_row_ends_the_training_that_reads_it(tmp_path, monkeypatch, readers):
    rows = tiny.data(tmp_path)
    for part in (tmp_path / "latents" / "tiny" / "items").rglob("*.parquet"):
        data = part.read_bytes()
        for seed, count in ((tiny.IMAGES, 13), (tiny.CLIPS, 7)):
            for raw in tiny.raw(0, seed, count, tiny.space()):
                data = data.replace(raw.numpy().tobytes(), (-raw).numpy().tobytes())
        with part.open("r+b") as file:
            file.write(data)
    monkeypatch.setattr(parts, "SAMPLED", 1)
    with pytest.raises(Refused, match="not what its digest says"):
        next(loading.read(batches(rows), 0, STEPS, readers=readers))


def test_readers_outlive_the_signal_that_asks_a_training_to_stop(rows):
    read = loading.read(batches(rows), 0, STEPS, readers=2)
    found = [next(read), next(read)]  # one of each reader: both have settled
    for reader in multiprocessing.active_children():
        os.kill(reader.pid or 0, signal.SIGTERM)
    found += read
    assert all(map(same, found, [batches(rows).at(step) for step in range(STEPS)]))


def test_readers_end_when_their_training_is_closed(rows):
    before = set(multiprocessing.active_children())  # other tests may have left one that is ending
    read = loading.read(batches(rows), 0, STEPS, readers=2)
    next(read)
    readers = set(multiprocessing.active_children()) - before
    assert len(readers) == 2
    read.close()
    assert not any(reader.is_alive() for reader in readers)


def test_a_training_that_ends_without_closing_its_readers_ends(tmp_path):
    tiny.data(tmp_path)
    program = """
import sys
from frostline import loading
from frostline.dataset import Dataset
from tests.unit.test_loading import STEPS, batches
reading = loading.read(batches(Dataset(sys.argv[1] + "/latents.json", sys.argv[1] + "/latents")), 0, STEPS, readers=1)
next(reading)
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, check=True, timeout=120)


def _reads_for_ever(rows, pids):
    read = loading.read(batches(rows), 0, STEPS, readers=2)
    assert next(read).rows != next(read).rows  # one of each reader: both have settled
    for reader in multiprocessing.active_children():
        pids.put(reader.pid)
    time.sleep(60)


def test_readers_end_when_their_training_is_killed(rows):
    fork = multiprocessing.get_context("fork")
    pids = fork.Queue()
    training = fork.Process(target=_reads_for_ever, args=(rows, pids))
    training.start()
    readers = [pids.get(timeout=20) for _ in range(2)]
    os.kill(training.pid or 0, signal.SIGKILL)
    training.join(20)
    until(lambda: not any(_runs(pid) for pid in readers), 3)  # sooner than the loader's own would look for their parent


def _runs(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.fixture
def told(monkeypatch):
    """The stretches of files that the disk was told of, in their order."""
    found = []
    monkeypatch.setattr(os, "posix_fadvise", lambda file, place, size, _: found.append((file, place, size)))
    return found


def _expected_by(rows, told, steps):
    """The stretches that the disk would be told of for steps."""
    before = len(told)
    for step in steps:
        batches(rows).expect(step)
    found = told[before:]
    del told[before:]
    return found


def test_the_disk_is_told_of_nothing_that_is_in_memory(rows, told):
    list(loading.read(batches(rows), 0, STEPS))
    told.clear()
    list(loading.read(batches(rows), 0, STEPS))
    assert told == []


def test_a_disk_that_is_waited_for_is_told_of_each_later_batch_once_and_in_time(rows, told, monkeypatch):
    read_now = os.preadv

    def preadv(file, buffers, place, flags=0):
        if flags:
            raise OSError(errno.EAGAIN, "not in memory")
        return read_now(file, buffers, place, flags)

    monkeypatch.setattr(os, "preadv", preadv)
    read = loading.read(batches(rows), 0, STEPS)
    next(read)
    assert told == []
    for step in range(1, STEPS):
        next(read)
        assert told == _expected_by(rows, told, range(2, min(step + loading.AHEAD + 1, STEPS)))


def test_small_batches_have_no_readers_and_others_the_cores_that_training_leaves(rows, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert loading.readers(batches(rows), threads=1) == 0
    monkeypatch.setattr(loading, "SMALL", 1)
    assert loading.readers(batches(rows), threads=1) == loading.MOST
    assert loading.readers(batches(rows), threads=13) == 3
    assert loading.readers(batches(rows), threads=1, share=Share(rank=3, world=8)) == 1
    assert loading.readers(batches(rows), threads=16) == 0
