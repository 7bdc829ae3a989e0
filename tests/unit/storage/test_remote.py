"""Storage and listings against a real S3 server."""

import concurrent.futures
import io
import multiprocessing
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frostline import errors, storage
from frostline.sources import listing
from frostline.storage import remote
from tests import processes
from tests.object_store import Put, ask
from tests.relay import Relay
from tests.unit.sources.listing.conftest import by_name, lines, media_params, read, reasons
from tests.waiting import SECONDS, until

pytest_plugins = ["tests.servers"]


def test_objects_are_listed_and_read_whole_and_in_parts(bucket: str, put: Put, monkeypatch: pytest.MonkeyPatch):
    data = os.urandom(5000)
    for key, body in {"p/b.bin": data, "p/a/1.txt": b"one", "p/.hidden": b"x", "p/folder/": b"", "other": b"x"}.items():
        put(key, body)
    root = f"s3://{bucket}/p"
    assert [name for name, _ in storage.tree(root)] == ["a/1.txt", "b.bin"]
    whole = dict(storage.tree(root))["b.bin"]
    assert whole == storage.blob(root, "b.bin")
    monkeypatch.setattr(remote, "CHUNK", 700)
    expected = io.BytesIO(data)
    with whole.open() as file:
        for place, count in ((0, 10), (4990, 99), (699, 2), (1234, 2000), (0, -1)):
            assert file.seek(place) == expected.seek(place)
            assert file.read(count) == expected.read(count)
    assert whole.part(4000, 1000).read(1000) == data[4000:]
    assert storage.blob(root, "b.bin", 10, 20).read(20) == data[10:30]


def test_long_listings_come_in_pages(bucket: str, put: Put, monkeypatch: pytest.MonkeyPatch):
    for number in range(7):
        put(f"{number}.txt", str(number).encode())
    monkeypatch.setattr(remote, "PAGE", 3)
    monkeypatch.setattr(storage, "TOGETHER", 3)
    found = storage.tree(f"s3://{bucket}")
    assert [name for name, _ in found] == [f"{number}.txt" for number in range(7)]
    assert list(storage.read_all([blob for _, blob in found], 9)) == [str(number).encode() for number in range(7)]


def test_keys_that_are_no_plain_paths_are_named(bucket: str, put: Put):
    for key in ("p/good", "p/../up", "p//double", "p/a/./b", "p/tab\there"):
        put(key, b"x")
    found, passed = storage.walk(f"s3://{bucket}/p")
    assert [name for name, _ in found] == ["good"]
    assert {entry.name: entry.reason for entry in passed} == dict.fromkeys(
        ("'../up'", "'/double'", "'a/./b'", "'tab\\there'"), "unprintable_name"
    )


def test_what_went_or_was_replaced_is_said_to_have(bucket: str, put: Put):
    for key in ("a", "b"):
        put(key, b"12345")
    first, second = (blob for _, blob in storage.tree(f"s3://{bucket}"))
    put("a", b"54321")
    ask("delete_object", Bucket=bucket, Key="b")
    with pytest.raises(storage.Changed, match="/a: another object than when it was listed"):
        first.read(9)
    with pytest.raises(storage.Gone, match="/b: no such object"):
        second.read(9)
    assert [type(data) for data in storage.read_all([first, second], 9)] == [storage.Changed, storage.Gone]
    put("a", b"1")
    with pytest.raises(storage.Changed):
        storage.Blob(first.path, 3, 2, "").read(9)
    with pytest.raises(storage.Gone):
        storage.blob(f"s3://{bucket}", "b")


def test_another_process_reads_what_this_one_listed(bucket: str, put: Put):
    put("a", b"12345")
    (blob,) = (blob for _, blob in storage.tree(f"s3://{bucket}"))
    assert processes.forked(blob.read, 9) == b"12345"
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        assert other.submit(blob.read, 9).result(SECONDS) == b"12345"


def test_empty_places_are_refused(bucket: str):
    with pytest.raises(errors.WrongUse, match="no objects below that prefix"):
        storage.tree(f"s3://{bucket}/nowhere")
    with pytest.raises(storage.Gone, match="no such bucket"):
        storage.tree("s3://no-such-bucket-here")
    with pytest.raises(errors.WrongUse, match="names no bucket"):
        storage.tree("s3://")


MIB = 1 << 20


def test_a_large_object_comes_in_ranges_at_once(bucket: str, put: Put, relay: Relay):
    data = os.urandom(20 * MIB + 5)
    put("big", data)
    blob = storage.blob(f"s3://{bucket}", "big")
    relay.requests.clear()
    with ThreadPoolExecutor(1) as beside, relay.holding():
        reading = beside.submit(blob.read, len(data))
        until(lambda: relay.most_waiting == 3)
    assert reading.result() == data
    assert len(relay.requests) == relay.most_waiting == 3
    assert blob.part(7, 9 * MIB).read(9 * MIB) == data[7 : 7 + 9 * MIB]


def test_a_reader_brings_ranges_in_any_order_and_neighbours_together(bucket: str, put: Put, relay: Relay):
    data = os.urandom(17 * MIB)
    put("big", data)
    reader = storage.reader(storage.blob(f"s3://{bucket}", "big"))
    relay.requests.clear()
    wanted = [(16 * MIB, 9), (5, 0), (100, 50), (0, 100), (100, 3), (9 * MIB, 10), (9 * MIB + remote.GAP, 10), (5, 20)]
    wanted.append((7 * MIB, 9 * MIB + 3))
    assert storage.read(reader, wanted) == [data[place : place + length] for place, length in wanted]
    assert len(relay.requests) == 4  # near 0, the rest up to 8 MiB, 8 to 16 MiB, behind
    with reader.open() as file:
        file.seek(3 * MIB)
        assert file.read(5000) == data[3 * MIB : 3 * MIB + 5000]
    with pytest.raises(storage.Changed, match="/big: another object than when it was listed"):
        storage.read(reader, [(0, 1), (17 * MIB - 1, 2)])
    put("big", data[::-1])
    with pytest.raises(storage.Changed):
        storage.read(reader, [(0, 1)])


def test_every_convention_is_read_from_a_bucket(bucket: str, put: Put, tmp_path: Path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, body in {"a.jpg": b"picture", "a.txt": b"in a tar", "big.png": bytes(3000)}.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    objects = {
        "side/a.png": b"1",
        "side/a.txt": b"beside",
        "side/b.png": b"2",
        "side/b.txt": b"\xff",
        "meta/metadata.jsonl": lines([{"file_name": name, "text": "named"} for name in ("a.png", "gone.png")]).encode(),
        "meta/a.png": b"3",
        "frames/metadata.jsonl": lines([{"file_name": "clip", "text": "moves"}]).encode(),
        "frames/clip/10.png": b"10",
        "frames/clip/9.png": b"9",
        "table/t.csv": f"path,caption\na.png,in a table\ns3://{bucket}/meta/a.png,elsewhere\ngone.png,x\n".encode(),
        "table/a.png": b"4",
        "shards/0.tar": (tmp_path / "0.tar").read_bytes(),
    }
    for key, body in objects.items():
        put(key, body)
    root = f"s3://{bucket}"
    side = read(f"{root}/side", "sidecar")
    assert (by_name(side), reasons(side)) == ({"a.png": ["beside"]}, {"b.png": "caption_unreadable"})
    meta = read(f"{root}/meta", "imagefolder")
    assert (by_name(meta), reasons(meta)) == ({"a.png": ["named"]}, {"gone.png": "absent"})
    (clip,) = read(f"{root}/frames", "frames").entries
    assert [blob.read(9) for blob in clip.blobs] == [b"9", b"10"]
    assert listing.blobs(media_params(f"{root}/frames", "frames"), "clip", 0, 0) == clip.blobs
    table = read(f"{root}/table/t.csv", "table")
    assert by_name(table) == {"a.png": ["in a table"], f"{bucket}/meta/a.png": ["elsewhere"]}
    assert reasons(table) == {"gone.png": "absent"}
    shards = read(f"{root}/shards", "webdataset")
    assert by_name(shards) == {"0.tar/a.jpg": ["in a tar"], "0.tar/big.png": []}
    assert [entry.blobs[0].read(9999) for entry in shards.entries] == [b"picture", bytes(3000)]
