"""Storage and listings against a real S3 server, its failures included."""

import concurrent.futures
import io
import multiprocessing
import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from frostline import errors, storage
from frostline.sources import listing
from tests.unit.sources.listing.conftest import by_name, lines, media_params, read, reasons

pytest_plugins = ["tests.servers"]
pytestmark = pytest.mark.slow

Put = Callable[[str, bytes], None]


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest) -> str:
    name = f"test-{abs(hash(request.node.name)) % 10**9}"
    client().call_s3("create_bucket", Bucket=name)
    return name


@pytest.fixture
def put(bucket: str) -> Put:
    return lambda key, body: client().call_s3("put_object", Bucket=bucket, Key=key, Body=body) and None


def client():
    import s3fs

    return s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"], use_listings_cache=False)


def test_objects_are_listed_and_read_whole_and_in_parts(bucket: str, put: Put, monkeypatch: pytest.MonkeyPatch):
    data = os.urandom(5000)
    for key, body in {"p/b.bin": data, "p/a/1.txt": b"one", "p/.hidden": b"x", "p/folder/": b"", "other": b"x"}.items():
        put(key, body)
    root = f"s3://{bucket}/p"
    assert [name for name, _ in storage.tree(root)] == ["a/1.txt", "b.bin"]
    whole = dict(storage.tree(root))["b.bin"]
    assert whole == storage.blob(root, "b.bin")
    monkeypatch.setattr(storage.remote, "CHUNK", 700)
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
    monkeypatch.setattr(storage.remote, "PAGE", 3)
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
    client().call_s3("delete_object", Bucket=bucket, Key="b")
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
    for way in ("spawn", "fork"):
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(way)) as other:
            assert other.submit(blob.read, 9).result(60) == b"12345"


def test_empty_places_and_wrong_credentials_are_refused(bucket: str, put: Put, monkeypatch: pytest.MonkeyPatch):
    import s3fs

    with pytest.raises(errors.WrongUse, match="no objects below that prefix"):
        storage.tree(f"s3://{bucket}/nowhere")
    with pytest.raises(storage.Gone, match="no such object"):
        storage.tree("s3://no-such-bucket-here")
    with pytest.raises(errors.WrongUse, match="names no bucket"):
        storage.tree("s3://")
    for secret in ("wrong", None):
        s3fs.S3FileSystem.clear_instance_cache()
        if secret is None:
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        else:
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        with pytest.raises(errors.WrongUse, match=r"refused .*check the AWS_\.\.\. variables"):
            storage.tree(f"s3://{bucket}")


@pytest.fixture
def relay(swift: int) -> Iterator[tuple[int, list[int]]]:
    """A port that leads to the server, and after how many bytes each next connection is cut."""
    cuts: list[int] = []
    door = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                caller, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=pass_on, args=(caller, cuts.pop(0) if cuts else 1 << 40), daemon=True).start()

    def pass_on(caller: socket.socket, allowed: int) -> None:
        with caller, socket.create_connection(("127.0.0.1", swift)) as server:
            threading.Thread(target=pump, args=(caller, server, 1 << 40), daemon=True).start()
            pump(server, caller, allowed)

    def pump(source: socket.socket, target: socket.socket, allowed: int) -> None:
        try:
            while allowed > 0 and (data := source.recv(min(allowed, 4096))):
                target.sendall(data)
                allowed -= len(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    threading.Thread(target=answer, daemon=True).start()
    yield door.getsockname()[1], cuts
    door.close()


def test_connections_that_break_in_mid_answer_are_made_again(
    bucket: str, put: Put, relay: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
):
    data = os.urandom(200_000)
    put("big", data)
    port, cuts = relay
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    blob = storage.Blob(f"s3://{bucket}/big", 0, len(data), "")
    cuts += [50_000, 1000, 0, 100_000]
    assert blob.read(len(data)) == data
    assert cuts == []


def test_a_store_that_is_away_too_long_is_unreachable(bucket: str, put: Put, monkeypatch: pytest.MonkeyPatch):
    put("a", b"x")
    blob = storage.blob(f"s3://{bucket}", "a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(storage.remote, "PATIENCE", 0.5)
    with pytest.raises(storage.Unreachable, match=r"/a: the object store did not answer for 0.5 s"):
        blob.read(9)
    with pytest.raises(storage.Unreachable):
        list(storage.read_all([blob], 9))


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
