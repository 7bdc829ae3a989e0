"""A published object is whole or absent, and is what was sent."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frostline import digests, storage
from frostline.storage import publishing
from tests import processes
from tests.object_store import ask, keys, uploads
from tests.relay import FOREVER, Relay
from tests.waiting import SECONDS, impatient, until

pytest_plugins = ["tests.servers"]
MIB = 1 << 20
LARGE = os.urandom(20 * MIB + 1)  # three parts


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun and not finished is nobody's any more."""
    monkeypatch.setattr(publishing, "ABANDONED", -5.0)  # the server rounds seconds up


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def there(bucket: str, key: str) -> bytes:
    address = storage.blob(f"s3://{bucket}", key)
    return address.read(address.size)


def publish(path: Path, address: str) -> None:
    """Put one file into a store, under a name that does not tell its bytes."""
    prefix, name = storage.parent(address)
    storage.publish([], prefix, last=storage.Sending(path=str(path), name=name, digest=digests.of_file(path)))


def sent(relay: Relay) -> list[str]:
    return relay.said("PUT", "POST", "DELETE")


@pytest.mark.parametrize("data", [b"", b"small", LARGE[: 8 * MIB], LARGE], ids=["empty", "small", "a part", "parts"])
def test_what_is_published_is_there_and_not_sent_twice(bucket: str, tmp_path: Path, relay: Relay, data: bytes):
    path = tmp_path / "a"
    path.write_bytes(data)
    publish(path, f"s3://{bucket}/p/a")
    assert there(bucket, "p/a") == data
    head = ask("head_object", Bucket=bucket, Key="p/a")
    assert head["Metadata"] == {"frostline-digest": digests.of_bytes(data)}
    assert (keys(bucket), uploads(bucket)) == (["p/a"], [])
    relay.requests.clear()
    publish(path, f"s3://{bucket}/p/a")
    assert sent(relay) == []
    path.write_bytes(data + b"x")
    publish(path, f"s3://{bucket}/p/a")
    assert there(bucket, "p/a") == data + b"x"


def test_parts_go_together_and_nothing_is_there_before_the_last(bucket: str, large: Path, relay: Relay):
    with ThreadPoolExecutor(1) as beside, relay.holding(b"PUT"):
        publishing = beside.submit(publish, large, f"s3://{bucket}/a")
        until(lambda: relay.most_waiting == 3)
        assert (keys(bucket), uploads(bucket)) == ([], ["a"])
    publishing.result()
    assert there(bucket, "a") == LARGE


def test_bytes_damaged_on_their_way_are_refused_and_sent_again(bucket: str, large: Path, relay: Relay):
    relay.flips = 2
    publish(large, f"s3://{bucket}/a")
    assert relay.flips == 0
    assert relay.said("PUT") == ["PUT a"] * 5
    assert there(bucket, "a") == LARGE


LOST = {"begin": rb"POST .*\?uploads", "part": rb"PUT .*partNumber=2", "end": rb"POST .*uploadId=", "look": rb"HEAD"}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_a_lost_answer_is_asked_for_again(bucket: str, large: Path, relay: Relay, lost: bytes):
    relay.lost.append(lost)
    publish(large, f"s3://{bucket}/a")
    assert relay.lost == []
    assert there(bucket, "a") == LARGE


def test_a_file_that_changes_meanwhile_is_not_published(bucket: str, large: Path, relay: Relay):
    with ThreadPoolExecutor(1) as beside, relay.holding(b"PUT"):
        publishing = beside.submit(publish, large, f"s3://{bucket}/a")
        until(lambda: relay.said("PUT"))
        large.write_bytes(LARGE[::-1])
    with pytest.raises(storage.Changed, match=r"large: .*(changed while it was published|another size)"):
        publishing.result()
    assert (keys(bucket), uploads(bucket)) == ([], [])


def test_an_outage_names_the_object_and_the_next_run_goes_on(bucket: str, large: Path, relay: Relay):
    for allowed in (1, 4, 7):  # the upload is begun with the fourth, and the second part is the sixth
        relay.allowed = allowed
        with impatient(), pytest.raises(storage.Unreachable, match=rf"^s3://{bucket}(/a)?: no good answer for 1 s"):
            publish(large, f"s3://{bucket}/a")
        assert keys(bucket) == []
    relay.allowed = FOREVER
    publish(large, f"s3://{bucket}/a")
    assert there(bucket, "a") == LARGE
    assert uploads(bucket) == []


def test_a_killed_process_leaves_nothing_to_be_seen_and_the_next_run_goes_on(bucket: str, large: Path, relay: Relay):
    with relay.holding(b"PUT"):
        publishing = processes.start(publish, large, f"s3://{bucket}/a")
        until(lambda: relay.said("PUT"))
        publishing.kill()
        publishing.join(SECONDS)
        assert (keys(bucket), uploads(bucket)) == ([], ["a"])
    publish(large, f"s3://{bucket}/a")
    assert there(bucket, "a") == LARGE
    assert uploads(bucket) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C is heard: a shell has what it starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_upload_is_ended_at_once(bucket: str, large: Path, relay: Relay):
    with relay.holding(b"PUT"):
        threading.Thread(target=interrupt_when_sent, args=(relay,), daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            publish(large, f"s3://{bucket}/a")
    assert (keys(bucket), uploads(bucket)) == ([], [])


def interrupt_when_sent(relay: Relay) -> None:
    until(lambda: relay.said("PUT"))
    os.kill(os.getpid(), signal.SIGINT)


def test_an_upload_that_somebody_else_ends_says_so(bucket: str, large: Path, relay: Relay):
    with ThreadPoolExecutor(1) as beside, relay.holding(b"PUT"):
        publishing = beside.submit(publish, large, f"s3://{bucket}/a")
        begun = until(lambda: ask("list_multipart_uploads", Bucket=bucket).get("Uploads"))
        ask("abort_multipart_upload", Bucket=bucket, Key="a", UploadId=begun[0]["UploadId"])
    with pytest.raises(storage.Gone, match=rf"^s3://{bucket}/a: no such upload; see that one process writes there"):
        publishing.result()
    assert (keys(bucket), uploads(bucket)) == ([], [])
