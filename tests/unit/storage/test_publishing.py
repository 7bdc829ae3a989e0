"""A published folder is found whole: all of the old, all of the new, or no list of contents."""

import json
import multiprocessing
import signal
import time
from pathlib import Path

import pytest

from frostline import digests, errors, storage
from tests.unit.storage.conftest import Put, ask, keys, uploads
from tests.unit.storage.relay import FOREVER, Relay

pytest_plugins = ["tests.servers"]
pytestmark = pytest.mark.slow

LAST = "manifest.json"


def write(folder: Path, *contents: bytes, fixed: bytes = b"") -> dict[str, str]:
    """A folder as caches are: parts named by their contents, and a list of them; ``fixed`` goes under a fixed name."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    parts = {f"items/{digests.of_bytes(data)[:16]}.parquet": data for data in contents}
    parts |= {"text.parquet": fixed} if fixed else {}
    for name, data in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    known = {name: digests.of_bytes(data) for name, data in parts.items()}
    (folder / LAST).write_text(json.dumps(known))
    return known


def is_whole(bucket: str, prefix: str = "cache") -> bool | None:
    """Is all there that the list names, as it says? None where there is no list."""
    if f"{prefix}/{LAST}" not in keys(bucket):
        return None
    root = f"s3://{bucket}/{prefix}"
    blobs = dict(storage.tree(root))
    listed = json.loads(blobs[LAST].read(9999))
    return all(name in blobs and digests.of_bytes(blobs[name].read(9999)) == listed[name] for name in listed)


def test_a_folder_is_published_last_thing_last_and_then_only_what_is_new(bucket: str, tmp_path: Path, relay: Relay):
    known = write(tmp_path, b"one", b"two", fixed=b"text")
    (tmp_path / ".hidden").write_text("x")
    address = f"s3://{bucket}/cache"
    done = storage.publish_folder(tmp_path, address, last=LAST, known=known)
    assert done == storage.Published(sent=tuple(sorted([*known, LAST])), kept=(), removed=())
    assert relay.said("PUT")[-1] == f"PUT cache/{LAST}"
    assert len(relay.said("PUT")) == 4
    assert is_whole(bucket)
    relay.requests.clear()
    done = storage.publish_folder(tmp_path, f"{address}/", last=LAST)
    assert (done.sent, done.removed, relay.said("PUT", "DELETE")) == ((), (), [])

    gone = f"items/{digests.of_bytes(b'two')[:16]}.parquet"
    known = write(tmp_path, b"one", b"three", fixed=b"text")
    new = f"items/{digests.of_bytes(b'three')[:16]}.parquet"
    done = storage.publish_folder(tmp_path, address, last=LAST, known=known)
    assert (done.sent, done.removed) == ((new, LAST), (gone,))
    assert relay.said("PUT", "DELETE") == [f"PUT cache/{new}", f"PUT cache/{LAST}", f"DELETE cache/{gone}"]
    assert is_whole(bucket)
    assert len(keys(bucket)) == 4


def test_where_a_name_gets_other_bytes_the_old_list_goes_first(bucket: str, tmp_path: Path, relay: Relay):
    address = f"s3://{bucket}/cache"
    storage.publish_folder(tmp_path, address, last=LAST, known=write(tmp_path, b"one", fixed=b"text"))
    relay.requests.clear()
    storage.publish_folder(tmp_path, address, last=LAST, known=write(tmp_path, b"one", fixed=b"TEXT"))
    said = relay.said("PUT", "DELETE")
    assert said == [f"DELETE cache/{LAST}", "PUT cache/text.parquet", f"PUT cache/{LAST}"]
    assert is_whole(bucket)


def test_killed_after_any_request_it_is_never_found_half_and_goes_on(bucket: str, tmp_path: Path, relay: Relay):
    address = f"s3://{bucket}/cache"
    storage.publish_folder(tmp_path, address, last=LAST, known=write(tmp_path, b"one", b"two", fixed=b"text"))
    known = write(tmp_path, b"one", b"three", b"four", fixed=b"TEXT")
    seen: list[bool | None] = []
    ends: list[int | None] = []
    for allowed in range(40):
        relay.allowed, relay.refused = allowed, 0
        process = multiprocessing.get_context("fork").Process(
            target=storage.publish_folder, args=(tmp_path, address), kwargs={"last": LAST, "known": known}
        )
        process.start()
        while relay.refused == 0 and process.is_alive():
            time.sleep(0.01)
        process.kill()
        process.join()
        relay.allowed = FOREVER
        seen.append(is_whole(bucket))
        ends.append(process.exitcode)
        if relay.refused == 0:
            break
    assert ends == [-signal.SIGKILL] * (len(ends) - 1) + [0]
    assert set(seen) == {True, None}
    assert seen[0] is seen[-1] is True
    assert len(seen) > 5
    assert keys(bucket) == sorted(f"cache/{name}" for name in [*known, LAST])


def test_large_files_are_sent_in_parts_and_what_was_begun_is_ended(bucket: str, tmp_path: Path):
    ask("create_multipart_upload", Bucket=bucket, Key="cache/items/old")
    ask("create_multipart_upload", Bucket=bucket, Key="elsewhere")
    assert uploads(bucket) == ["cache/items/old", "elsewhere"]
    write(tmp_path, b"one")
    (tmp_path / "items" / "large").write_bytes(bytes(9 << 20))
    storage.publish_folder(tmp_path, f"s3://{bucket}/cache", last=LAST)
    assert uploads(bucket) == ["elsewhere"]
    assert dict(storage.tree(f"s3://{bucket}/cache"))["items/large"].read(9 << 20) == bytes(9 << 20)


@pytest.mark.parametrize("name", ["data.csv", f"digits/{LAST}"])
def test_nothing_is_touched_where_something_else_lies(bucket: str, put: Put, tmp_path: Path, name: str):
    put(f"cache/{name}", b"mine")
    if name != "data.csv":
        write(tmp_path, b"another")
        storage.publish_folder(tmp_path, f"s3://{bucket}/cache/digits", last=LAST)
    before = keys(bucket)
    known = write(tmp_path, b"one")
    with pytest.raises(errors.WrongUse, match=f"^s3://{bucket}/cache/{name}: lies where the folder is to go, .*"):
        storage.publish_folder(tmp_path, f"s3://{bucket}/cache", last=LAST, known=known)
    assert keys(bucket) == before


def test_folders_that_cannot_be_published_are_named(bucket: str, tmp_path: Path):
    address = f"s3://{bucket}/cache"
    with pytest.raises(errors.WrongUse, match="nowhere: no such folder"):
        storage.publish_folder(tmp_path / "nowhere", address, last=LAST)
    with pytest.raises(errors.WrongUse, match=f"holds no {LAST}"):
        storage.publish_folder(tmp_path, address, last=LAST)
    known = write(tmp_path, b"one")
    name = next(iter(known))
    (tmp_path / name).write_bytes(b"eno")
    with pytest.raises(storage.Changed, match=f"{name}: digest {digests.of_bytes(b'eno')}, but it is known as"):
        storage.publish_folder(tmp_path, address, last=LAST, known=known)
    assert keys(bucket) == []
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    with pytest.raises(errors.WrongUse, match="link: a link that cannot be followed"):
        storage.publish_folder(tmp_path, address, last=LAST)
