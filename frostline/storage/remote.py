"""Objects of a store behind ``s3://``; s3fs is imported when the first of them is asked for and not before.

Credentials, region and endpoint of a store are those boto finds: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_ENDPOINT_URL, or the files in ~/.aws.
"""

import errno
import functools
import http.client
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO, TypeVar

from frostline.errors import WrongUse
from frostline.storage.extents import Changed, Extent, Gone, Passed, Unreachable, Walked, nameable, unprintable, window

S3 = "s3://"
PATIENCE = 60.0  # seconds an object store may be away before a read fails
CHUNK = 4 << 20  # bytes asked for at once
PAGE = 1000  # names asked for at once, the most a store gives
TOGETHER = 64  # small objects asked for at once

T = TypeVar("T")


def look(path: str) -> Extent:
    """An object as it is now; raises Gone."""
    bucket, key = _bucket_and_key(path)
    head = _patiently(path, lambda: _store().call_s3("head_object", Bucket=bucket, Key=key))
    return Extent(path, 0, head["ContentLength"], f"{head['ETag']}-{head['ContentLength']}")


def open_(entry: Extent) -> BinaryIO:
    """A seekable reader of an object or a part of it."""

    def fetch(start: int, length: int) -> bytes:
        return _patiently(entry.path, lambda: _in_loop(_ranges([entry], start, length))[0])

    return window(entry.size, fetch, lambda: None, max(1, min(entry.size, CHUNK)))


def together(entries: Sequence[Extent]) -> dict[Extent, bytes]:
    """The bytes of objects or parts of them, asked for at once: of all, or of none if one of them fails."""
    if not entries:
        return {}
    try:
        return dict(zip(entries, _in_loop(_ranges(entries, 0, None)), strict=True))
    except (*_passing(), WrongUse):
        return {}


async def _ranges(entries: Sequence[Extent], start: int, length: int | None) -> list[bytes]:
    import asyncio

    return await asyncio.gather(*(_range(entry, start, entry.size if length is None else length) for entry in entries))


async def _range(entry: Extent, start: int, length: int) -> bytes:
    bucket, key = _bucket_and_key(entry.path)
    first = entry.offset + start
    wanted = f"bytes={first}-{first + length - 1}"
    response = await _store()._call_s3("get_object", Bucket=bucket, Key=key, Range=wanted)
    async with response["Body"] as body:
        data = await body.read()
    if entry.stamp and not entry.stamp.startswith(f"{response['ETag']}-"):
        raise Changed(f"{entry.path}: another object than when it was listed; run again")
    if len(data) != length:
        raise http.client.IncompleteRead(data, length - len(data))
    return data


def walk(root: str) -> Walked:
    """All objects below a prefix; raises WrongUse if there is none."""
    bucket, prefix = _bucket_and_key(root)
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    found: list[tuple[str, Extent]] = []
    passed: list[Passed] = []
    for key, size, etag in _keys(root, bucket, prefix):
        name = key.removeprefix(prefix)
        if not name or name.endswith("/") or any(_is_hidden(part) for part in name.split("/")):
            continue  # a folder's mark, or a hidden name
        if not nameable(name) or ".." in name.split("/") or PurePosixPath(name).as_posix() != name or name[0] == "/":
            passed.append(unprintable(name))
        else:
            found.append((name, Extent(f"{S3}{bucket}/{key}", 0, size, f"{etag}-{size}")))
    if not found and not passed:
        raise WrongUse(f"{root}: no objects below that prefix; correct the path of its source in params.yaml")
    return found, passed


def _is_hidden(part: str) -> bool:
    return part.startswith(".") and part not in (".", "..")


def _keys(root: str, bucket: str, prefix: str) -> Iterator[tuple[str, int, str]]:
    more: dict[str, Any] = {}
    while True:
        asked = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": PAGE, **more}
        page = _patiently(root, functools.partial(_store().call_s3, "list_objects_v2", **asked))
        yield from ((entry["Key"], entry["Size"], entry["ETag"]) for entry in page.get("Contents", []))
        if not page["IsTruncated"]:
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _bucket_and_key(path: str) -> tuple[str, str]:
    bucket, _, key = path.removeprefix(S3).partition("/")
    if not bucket:
        raise WrongUse(f"{path}: names no bucket; write {S3}bucket/prefix")
    return bucket, key


def _store() -> Any:
    """The connection of this process; s3fs keeps one for each."""
    try:
        import s3fs
    except ModuleNotFoundError:
        raise WrongUse(
            f"a path starts with {S3}, but s3fs is not installed: pip install 'frostline[pipeline]'"
        ) from None
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    settings = {
        "connect_timeout": 10,
        "read_timeout": 30,
        "max_pool_connections": TOGETHER,
        "retries": {"total_max_attempts": 1},  # s3fs and _patiently try again
    }
    return s3fs.S3FileSystem(endpoint_url=endpoint, use_listings_cache=False, config_kwargs=settings)


def _in_loop(work: Any) -> Any:
    import fsspec.asyn

    return fsspec.asyn.sync(_store().loop, lambda: work)


def _passing() -> tuple[type[Exception], ...]:
    """What an outage looks like; s3fs has tried for some seconds by then."""
    import aiohttp
    from botocore import exceptions

    return (
        OSError,
        http.client.IncompleteRead,
        aiohttp.ClientError,
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
    )


def _patiently(path: str, action: Callable[[], T]) -> T:
    """Do it, again and again while the store is away, for PATIENCE seconds."""
    from botocore import exceptions

    deadline, pause = time.monotonic() + PATIENCE, 0.1
    while True:
        try:
            return action()
        except FileNotFoundError:
            raise Gone(f"{path}: no such object") from None
        except (PermissionError, exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise WrongUse(f"{path}: refused ({error}); check the AWS_... variables, or ~/.aws") from None
        except _passing() as error:
            if isinstance(error, OSError) and error.errno == errno.EINVAL:  # the store understood and will not
                raise Changed(f"{path}: {error}; run again") from None
            if time.monotonic() + pause > deadline:
                message = f"{path}: the object store did not answer for {PATIENCE:g} s ({error}); run it again"
                raise Unreachable(message) from None
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
