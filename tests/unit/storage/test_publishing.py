"""A reader finds the old list or the new one, and all that it names."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frostline import digests, errors, storage
from frostline.storage import Published, Sending, publishing
from tests import processes
from tests.object_store import Put, ask, keys, uploads
from tests.relay import FOREVER, Relay
from tests.waiting import SECONDS, until

pytest_plugins = ["tests.servers"]

LAST = "manifest.json"


def write(folder: Path, *contents: bytes) -> tuple[list[Sending], Sending]:
    """Files named by their contents, and a list of them."""
    found = []
    for data in contents:
        digest = digests.of_bytes(data)
        (folder / digest).write_bytes(data)
        found.append(Sending(path=str(folder / digest), name=f"items/{digest}.parquet", digest=digest))
    (folder / LAST).write_text(json.dumps([one.name for one in found]))
    return found, Sending(path=str(folder / LAST), name=LAST, digest=digests.of_file(folder / LAST))


def publish(folder: Path, address: str, *contents: bytes) -> Published:
    found, last = write(folder, *contents)
    return storage.publish(found, address, last=last)


def listed(bucket: str, prefix: str = "cache") -> list[bytes] | None:
    """The contents that the list names; None where there is no list. Fails unless all of them are there and whole."""
    there = storage.objects(f"s3://{bucket}/{prefix}")
    if LAST not in there:
        return None
    found = [there[name].read(9999) for name in json.loads(there[LAST].read(9999))]
    assert [f"items/{digests.of_bytes(data)}.parquet" for data in found] == json.loads(there[LAST].read(9999))
    return found


def test_files_are_published_and_the_list_last_and_then_only_what_is_new(bucket: str, tmp_path: Path, relay: Relay):
    address = f"s3://{bucket}/cache"
    done = publish(tmp_path, address, b"one", b"two")
    assert (len(done.sent), done.kept, done.sent[-1]) == (3, (), LAST)
    assert relay.said("PUT")[-1] == f"PUT cache/{LAST}"
    assert listed(bucket) == [b"one", b"two"]
    relay.requests.clear()
    done = publish(tmp_path, f"{address}/", b"one", b"two")
    assert (done.sent, len(done.kept), relay.said("PUT", "DELETE")) == ((), 3, [])

    for path in tmp_path.glob("*"):
        path.unlink()
    done = publish(tmp_path, address, b"one", b"three")
    assert relay.said("PUT", "DELETE") == [f"PUT cache/{name}" for name in done.sent]
    assert (len(done.sent), done.sent[-1]) == (2, LAST)
    assert listed(bucket) == [b"one", b"three"]
    assert len(keys(bucket)) == 4  # whoever reads by the older list still finds what it names


def test_a_torn_object_is_sent_again(bucket: str, tmp_path: Path, put: Put):
    address = f"s3://{bucket}/cache"
    publish(tmp_path, address, b"one", b"two")
    put(f"cache/items/{digests.of_bytes(b'two')}.parquet", b"t")
    assert len(publish(tmp_path, address, b"one", b"two").sent) == 1
    assert listed(bucket) == [b"one", b"two"]


def test_an_object_that_vanishes_meanwhile_is_named_and_there_is_no_list(bucket: str, tmp_path: Path, relay: Relay):
    found, last = write(tmp_path, b"one", b"two")
    with ThreadPoolExecutor(1) as beside, relay.holding(b"PUT .*" + found[1].name.encode()):
        publishing = beside.submit(storage.publish, found, f"s3://{bucket}/cache", last=last)
        until(lambda: f"cache/{found[0].name}" in keys(bucket))
        ask("delete_object", Bucket=bucket, Key=f"cache/{found[0].name}")
    with pytest.raises((storage.Gone, storage.Changed), match=f"^s3://{bucket}/cache/{found[0].name}: "):
        publishing.result()
    assert listed(bucket) is None
    storage.publish(found, f"s3://{bucket}/cache", last=last)
    assert listed(bucket) == [b"one", b"two"]


def test_several_publish_at_once(bucket: str, tmp_path: Path, relay: Relay):
    relay.latency = 0.02
    large = bytes(9 << 20)
    every = [(b"all", large, bytes([number])) for number in range(3)]
    started = []
    for number, contents in enumerate(every):
        (tmp_path / str(number)).mkdir()
        found, last = write(tmp_path / str(number), *contents)
        process = processes.start(storage.publish, found, f"s3://{bucket}/cache", last=last)
        started.append(process)
    for process in started:
        process.join(SECONDS)
    assert [process.exitcode for process in started] == [0, 0, 0]
    there = storage.objects(f"s3://{bucket}/cache")
    assert [there[name].size for name in json.loads(there[LAST].read(9999))] == [3, 9 << 20, 1]
    assert len(there) == 2 + 3 + 1
    assert uploads(bucket) == []


def test_killed_after_any_request_a_reader_finds_the_old_or_the_new_and_it_goes_on(
    bucket: str, tmp_path: Path, relay: Relay
):
    address = f"s3://{bucket}/cache"
    publish(tmp_path, address, b"one", b"two")
    found, last = write(tmp_path, b"one", b"three", b"four")
    seen: list[list[bytes] | None] = []
    ends: list[int | None] = []
    for allowed in range(0, 40, 2):
        relay.allowed, relay.refused = allowed, 0
        process = processes.start(storage.publish, found, address, last=last)
        until(lambda process=process: relay.refused > 0 or not process.is_alive())
        process.kill()
        process.join(SECONDS)
        relay.allowed = FOREVER
        seen.append(listed(bucket))
        ends.append(process.exitcode)
        if relay.refused == 0:
            break
    assert ends == [-signal.SIGKILL] * (len(ends) - 1) + [0]
    old, new = [b"one", b"two"], [b"one", b"three", b"four"]
    assert all(one in (old, new) for one in seen)
    assert (seen[0], seen[-1]) == (old, new)
    assert len(seen) > 3


def test_large_files_are_sent_in_parts_and_uploads_of_the_killed_are_ended(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ask("create_multipart_upload", Bucket=bucket, Key="cache/items/old")
    ask("create_multipart_upload", Bucket=bucket, Key="elsewhere")
    large = bytes(9 << 20)
    publish(tmp_path, f"s3://{bucket}/cache", large)
    assert uploads(bucket) == ["cache/items/old", "elsewhere"]  # begun just now: perhaps somebody sends it
    monkeypatch.setattr(publishing, "ABANDONED", -5.0)  # the server rounds seconds up
    publish(tmp_path, f"s3://{bucket}/cache", large)
    assert uploads(bucket) == ["elsewhere"]
    there = storage.objects(f"s3://{bucket}/cache")
    assert there[f"items/{digests.of_bytes(large)}.parquet"].read(9 << 20) == large


def test_files_that_cannot_be_published_are_named(bucket: str, tmp_path: Path):
    address = f"s3://{bucket}/cache"
    found, last = write(tmp_path, b"one")
    Path(found[0].path).write_bytes(b"eno")
    with pytest.raises(storage.Changed, match=f"digest {digests.of_bytes(b'eno')}, but it is known as"):
        storage.publish(found, address, last=last)
    Path(found[0].path).unlink()
    with pytest.raises(storage.Gone, match=f"{found[0].digest}: no such file"):
        storage.publish(found, address, last=last)
    assert keys(bucket) == []
    with pytest.raises(errors.WrongUse, match=r"there: a local path; publish to s3://bucket/prefix"):
        storage.publish([], "there", last=last)
    with pytest.raises(storage.Gone, match=r"^s3://no-such-bucket-here/a: no such bucket"):
        storage.publish([], "s3://no-such-bucket-here/a", last=last)
