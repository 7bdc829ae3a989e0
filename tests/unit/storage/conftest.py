"""A bucket of a real S3 server, and a relay before it that disturbs."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from frostline.storage import connection
from tests.unit.storage.own_server import Swift
from tests.unit.storage.relay import Relay

Put = Callable[[str, bytes], None]


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """As in ``tests.servers``, with uploads in parts."""
    server = Swift(tmp_path_factory.mktemp("swift") / "data")
    yield server.port
    server.kill()


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest) -> str:
    name = f"test-{abs(hash(request.node.nodeid)) % 10**9}"
    ask("create_bucket", Bucket=name)
    return name


@pytest.fixture
def put(bucket: str) -> Put:
    return lambda key, body: ask("put_object", Bucket=bucket, Key=key, Body=body) and None


@pytest.fixture
def relay(swift: int, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """Requests go through it from here on; ``ask`` goes around it."""
    relay = Relay(swift)
    monkeypatch.setenv("FROSTLINE_TEST_S3", s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
    yield relay
    relay.close()


def ask(method: str, **arguments: Any) -> Any:
    """A request straight to the server."""
    import s3fs

    address = os.environ.get("FROSTLINE_TEST_S3") or os.environ["AWS_ENDPOINT_URL"]
    return s3fs.S3FileSystem(endpoint_url=address, use_listings_cache=False).call_s3(method, **arguments)


def uploads(bucket: str) -> list[str]:
    """Keys of what was begun to be sent and is not complete."""
    return [entry["Key"] for entry in ask("list_multipart_uploads", Bucket=bucket).get("Uploads", [])]


def keys(bucket: str) -> list[str]:
    return sorted(entry["Key"] for entry in ask("list_objects_v2", Bucket=bucket).get("Contents", []))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is long."""
    monkeypatch.setattr(connection, "PATIENCE", 1.0)
