"""A store that refuses, breaks, hangs, crawls or comes back: what is read then, and what is said."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from frostline import errors, storage
from frostline.storage import connection
from tests.object_store import Put, Swift, ask
from tests.relay import Relay
from tests.waiting import SECONDS, impatient, until

pytest_plugins = ["tests.servers"]

MIB = 1 << 20
DATA = os.urandom(3 * MIB)


@pytest.fixture
def big(bucket: str, put: Put) -> storage.Blob:
    put("big", DATA)
    return storage.blob(f"s3://{bucket}", "big")


def test_wrong_and_absent_credentials_are_refused_at_every_door(
    big: storage.Blob, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a").write_bytes(b"x")
    last = storage.Sending(path=str(tmp_path / "a"), name="a", digest="")
    for secret in ("wrong", None):
        S3FileSystem.clear_instance_cache()
        if secret is None:
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        else:
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        refused = r"refused \(.*check .*AWS_\.\.\. variables"
        with pytest.raises(errors.WrongUse, match=f"^s3://{bucket}: {refused}"):
            storage.tree(f"s3://{bucket}")
        with pytest.raises(errors.WrongUse, match=f"^{big.path}: {refused}"):
            big.read(big.size)
        with pytest.raises(errors.WrongUse, match=f"^{big.path}: {refused}"):
            storage.blob(f"s3://{bucket}", "big")
        with pytest.raises(errors.WrongUse, match=f"^s3://{bucket}/new: {refused}"):
            storage.publish([], f"s3://{bucket}/new", last=last)


def test_addresses_the_store_does_not_take_are_refused(s3: str):
    with pytest.raises(errors.WrongUse, match=r"^s3://no bucket/a: refused \(.*bucket name"):
        storage.blob("s3://no bucket", "a")


@pytest.mark.parametrize("cuts", [[500_000, 1000, 0, 700_000], [0, 0, 0]])
def test_a_range_goes_on_where_its_connection_broke(big: storage.Blob, relay: Relay, cuts: list[int]):
    relay.cuts += cuts
    assert big.read(big.size) == DATA
    assert relay.cuts == []
    assert relay.answered < len(DATA) + sum(cuts) + 10_000 * (len(cuts) + 1)


def test_an_object_replaced_in_mid_read_is_never_mixed(bucket: str, put: Put, relay: Relay):
    put("big", DATA)
    blob = storage.Blob(f"s3://{bucket}/big", 0, len(DATA), "")  # nobody looked at it
    relay.cuts += [1_000_000]

    def replace() -> None:
        until(lambda: relay.answered > 0)
        relay.latency = 1.0  # the request after the cut waits until the object is another one
        put("big", DATA[::-1])

    replaced = threading.Thread(target=replace, daemon=True)
    replaced.start()
    with pytest.raises(storage.Changed, match="/big: another object than when it was listed"):
        blob.read(blob.size)
    replaced.join(SECONDS)


def test_an_answer_that_hangs_or_crawls_ends_after_patience(big: storage.Blob, relay: Relay):
    no_answer = rf"^{big.path}: no good answer for 1 s \(no answer in time\); run the same command again"
    for stalls, rate in (([0] * 9, float("inf")), ([400_000] * 9, float("inf")), ([], 100_000.0)):
        relay.stalls[:], relay.rate = stalls, rate
        began = time.monotonic()
        with impatient(), pytest.raises(storage.Unreachable, match=no_answer):
            big.read(big.size)
        assert 0.9 < time.monotonic() - began < connection.PATIENCE
    relay.stalls[:], relay.rate = [], float("inf")
    assert big.read(big.size) == DATA


def test_a_slow_answer_is_waited_for_as_long_as_it_moves(big: storage.Blob, relay: Relay):
    relay.rate = 0.5 * MIB
    began = time.monotonic()
    with impatient(3.0):
        assert big.read(big.size) == DATA
    assert time.monotonic() - began > 4


def test_a_store_that_is_away_too_long_is_unreachable(bucket: str, put: Put, relay: Relay):
    put("a", b"x")
    blob = storage.blob(f"s3://{bucket}", "a")
    relay.down()
    for read in (lambda: blob.read(9), lambda: list(storage.read_all([blob], 9)), lambda: storage.tree(blob.path)):
        with (
            impatient(),
            pytest.raises(storage.Unreachable, match=r"/a: no good answer for 1 s \(.*; run the same command again"),
        ):
            read()
    relay.up()
    assert blob.read(9) == b"x"


def test_keys_that_vanish_between_listing_and_reading_are_named(bucket: str, put: Put):
    for key in "abc":
        put(key, b"x" * 9)
    blobs = [blob for _, blob in storage.tree(f"s3://{bucket}")]
    readers = [storage.reader(blob) for blob in blobs]
    ask("delete_object", Bucket=bucket, Key="b")
    first, second, third = storage.read_all(blobs, 9)
    assert (first, str(second), third) == (b"x" * 9, f"s3://{bucket}/b: no such object", b"x" * 9)
    with pytest.raises(storage.Gone, match=f"^s3://{bucket}/b: no such object"):
        storage.read(readers[1], [(0, 1), (3, 2)])


@pytest.fixture
def own(own_server: Swift, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swift]:
    for name, value in own_server.environment.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    if not ask("list_buckets")["Buckets"]:
        ask("create_bucket", Bucket="own")
    ask("put_object", Bucket="own", Key="big", Body=DATA)
    yield own_server
    S3FileSystem.clear_instance_cache()


def test_a_read_goes_on_when_a_killed_server_is_back(own: Swift, monkeypatch: pytest.MonkeyPatch):
    blob = storage.blob("s3://own", "big")
    relay = Relay(own.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
    relay.rate = 1.5 * MIB
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.append(blob.read(blob.size)), daemon=True)
    reading.start()
    until(lambda: relay.answered >= MIB)
    own.kill()
    time.sleep(0.5)
    assert reading.is_alive()
    own.start()
    reading.join(SECONDS)
    relay.close()
    assert found == [DATA]


def test_a_server_that_hangs_is_unreachable_until_it_answers_again(own: Swift):
    blob = storage.blob("s3://own", "big")
    own.process.send_signal(signal.SIGSTOP)
    try:
        with impatient(), pytest.raises(storage.Unreachable, match=f"^{blob.path}: no good answer for 1 s"):
            blob.read(blob.size)
    finally:
        own.process.send_signal(signal.SIGCONT)
    assert blob.read(blob.size) == DATA


def test_a_server_that_lost_its_disk_is_unreachable_until_it_has_it_again(own: Swift):
    blob, disk = storage.blob("s3://own", "big"), own.folder / "disks" / "d1"
    disk.rename(disk.with_name("away"))
    try:
        unavailable = f"^{blob.path}: no good answer for 1 s .*ServiceUnavailable.*; run the same command again"
        with impatient(), pytest.raises(storage.Unreachable, match=unavailable):
            blob.read(blob.size)
    finally:
        disk.with_name("away").rename(disk)
        own.kill()
        own.start()  # it remembers errors for a minute
    assert blob.read(blob.size) == DATA


def test_without_s3fs_the_remedy_is_named(s3: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(errors.WrongUse, match=r"s3fs is not installed: pip install 'frostline\[pipeline\]'"):
        storage.blob("s3://bucket", "a")
