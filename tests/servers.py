"""A real S3 server for tests: started once a session and stopped at its end, or skipped with the reason."""

from collections.abc import Iterator

import pytest

from tests import object_store
from tests.object_store import Put, Swift, ask
from tests.relay import Relay


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """An S3 server: user test:tester, secret testing."""
    if not (python := object_store.python()).exists():
        pytest.skip(f"{python}: no Swift, so no S3 server; `python -m tests.object_store` installs it there")
    with Swift(tmp_path_factory.mktemp("swift") / "data") as server:
        yield server


@pytest.fixture
def s3(swift: Swift, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 server, with credentials for it in the environment."""
    from s3fs import S3FileSystem

    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    yield swift.environment["AWS_ENDPOINT_URL"]
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest) -> str:
    """The name of a bucket that is empty."""
    name = f"test-{abs(hash(request.node.nodeid)) % 10**9}"
    ask("create_bucket", Bucket=name)
    return name


@pytest.fixture
def put(bucket: str) -> Put:
    """Puts an object into the bucket."""
    return lambda key, body: ask("put_object", Bucket=bucket, Key=key, Body=body) and None


@pytest.fixture
def relay(swift: Swift, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """Requests go through it from here on; ``ask`` goes around it."""
    relay = Relay(swift.port)
    monkeypatch.setenv("FROSTLINE_TEST_S3", s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def own_server(swift: Swift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """A server that a test may kill."""
    with Swift(tmp_path_factory.mktemp("swift") / "data") as server:
        yield server
