"""The one door to where bytes lie: a local disk, or an object store behind ``s3://``.

A Blob is bytes that can be opened again, here or in another process: a whole file or object, or a member of a tar.

Errors: Gone (no such file), Changed (not the bytes that were listed), Unreachable (the store did not answer within
PATIENCE seconds; nothing is wrong with the item). Credentials, region and endpoint of a store are those boto finds:
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, or the files in ~/.aws.
s3fs is imported when a path starts with ``s3://`` and not before.
"""

import errno
import functools
import http.client
import io
import os
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar, cast

from frostline.errors import FrostlineError, WrongUse

S3 = "s3://"
PATIENCE = 60.0  # seconds an object store may be away before a read fails
REMOTE_CHUNK = 4 << 20  # bytes asked of an object store at once
LOCAL_CHUNK = 1 << 16
PAGE = 1000  # names asked for at once, the most a store gives
TOGETHER = 64  # small objects asked for at once

T = TypeVar("T")


class Gone(WrongUse):
    """There is no such file or object."""


class Changed(WrongUse):
    """The bytes are not those that were listed: another size, or another object under the name."""


class Unreachable(FrostlineError):
    """An object store that does not answer: run the same command again."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that can be opened again."""

    path: str  # a local path or s3://bucket/key
    offset: int
    size: int
    stamp: str  # changes when the bytes do, "" where nobody looked: see ``blob``

    def open(self) -> BinaryIO:
        """A seekable reader of exactly these bytes; a whole local file is a plain file."""
        return _open_remote(self) if is_remote(self.path) else _open_local(self)

    def read(self, limit: int) -> bytes:
        """All bytes; raises WrongUse if there are more than ``limit``."""
        if self.size > limit:
            raise WrongUse(f"{self.path}: {self.size} bytes, but no more than {limit} are read here; shrink it")
        with self.open() as file:
            data = file.read(self.size)
        if len(data) != self.size:
            raise Changed(f"{self.path}: {len(data)} bytes, {self.size} when it was listed; run again")
        return data

    def part(self, offset: int, size: int) -> "Blob":
        """Bytes within these, such as a member of a tar."""
        return Blob(self.path, self.offset + offset, size, f"{self.stamp}@{offset}")


@dataclass(frozen=True, slots=True)
class Passed:
    """Something in a tree that cannot be taken."""

    name: str  # relative; in escaped form where it cannot be shown
    reason: str  # unprintable_name, link_to_folder, absent (a link to nothing), not_a_file, unreadable
    detail: str


ReadAll = Callable[[Sequence[Blob], int], Iterator[bytes | WrongUse]]  # see ``read_all``


def is_remote(path: str) -> bool:
    """Is it in an object store? Raises WrongUse for an address of another kind."""
    if "://" in path and not path.startswith(S3):
        raise WrongUse(f"{path}: only local paths and {S3}bucket/prefix are read; copy the data to one of them")
    return path.startswith(S3)


def join(root: str, name: str) -> str:
    """The path of ``name`` below ``root``, or ``name`` itself where it is absolute."""
    if name.startswith("/") or is_remote(name):
        return name
    return f"{root.rstrip('/')}/{name}" if root.rstrip("/") else f"/{name}"


def parent(path: str) -> tuple[str, str]:
    """The folder a path lies in, and its name there."""
    folder, slash, name = path.rpartition("/")
    return folder or ("/" if slash else "."), name


def nameable(name: str) -> bool:
    """Can a name stand in tables and messages? Not with line ends, control characters or bytes that are not UTF-8."""
    return name.isprintable() or all(char.isprintable() or unicodedata.category(char) == "Zs" for char in name)


def blob(root: str, name: str, offset: int = 0, size: int | None = None) -> Blob:
    """The bytes of ``name`` below ``root``; without a size, the whole file as it is now; raises Gone.

    The stamp of a local file is its size, times of change and inode; of an object, its ETag and size. With a size
    given nobody looks, and the stamp is "".
    """
    path = join(root, name)
    if size is not None:
        return Blob(path, offset, size, "")
    whole = _look_remote(path) if is_remote(path) else _look_local(path)
    return whole if offset == 0 else whole.part(offset, whole.size - offset)


def tree(root: str) -> list[tuple[str, Blob]]:
    """All files below a folder, by name, as ``walk`` finds them; raises WrongUse for a name that cannot be shown."""
    found, passed = walk(root)
    for entry in passed:
        if entry.reason == "unprintable_name":
            raise WrongUse(f"{root}: {entry.detail}")
    return found


def walk(root: str) -> tuple[list[tuple[str, Blob]], list[Passed]]:
    """All files below a folder as (relative name, bytes), by name, and what cannot be taken.

    Hidden names are skipped. Links to files are files, as in the caches of DVC and the hub; links to folders are not
    followed, so there are no loops.
    """
    found, passed = _walk_remote(root) if is_remote(root) else _walk_local(root.rstrip("/") or "/")
    return sorted(found, key=lambda entry: entry[0]), sorted(passed, key=lambda entry: entry.name)


def read_all(blobs: Sequence[Blob], limit: int) -> Iterator[bytes | WrongUse]:
    """The bytes of many small blobs in order, or why one cannot be read; objects are asked for together."""
    for start in range(0, len(blobs), TOGETHER):
        some = blobs[start : start + TOGETHER]
        yield from (
            _read_together(some, limit)
            if any(is_remote(entry.path) for entry in some)
            else (_tried(entry, limit) for entry in some)
        )


def _tried(entry: Blob, limit: int) -> bytes | WrongUse:
    try:
        return entry.read(limit)
    except WrongUse as error:
        return error


class _Window(io.RawIOBase):
    """A reader of ``size`` bytes that ``fetch(start, length)`` gets."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes], finish: Callable[[], None]) -> None:
        super().__init__()
        self._size, self._fetch, self._finish, self._at = size, fetch, finish, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "a place before the first byte")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._at))
        if length:
            buffer[:length] = self._fetch(self._at, length)
            self._at += length
        return length

    def close(self) -> None:
        if not self.closed:
            self._finish()
        super().close()


# ------------------------------------------------------------------------------------------------------- a local disk


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


def _look_local(path: str) -> Blob:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _local_error(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise WrongUse(f"{path}: not a file; name a file")
    return Blob(path, 0, status.st_size, _stamp(status))


def _local_error(path: str, error: OSError) -> WrongUse:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Gone(f"{path}: no such file")
    return WrongUse(f"{path}: {error.strerror}")


def _open_local(entry: Blob) -> BinaryIO:
    try:
        file = open(entry.path, "rb", buffering=0)  # noqa: PTH123, SIM115 - a Blob's path is a text, closed by its reader
    except (OSError, ValueError) as error:
        raise _local_error(entry.path, error if isinstance(error, OSError) else OSError(0, str(error))) from None
    there = os.fstat(file.fileno()).st_size
    if there < entry.offset + entry.size or (entry.offset == 0 and there != entry.size):
        file.close()
        raise Changed(f"{entry.path}: {there} bytes, another size than when it was listed; run again")
    if entry.offset == 0:
        return io.BufferedReader(file)
    fetch = functools.partial(_fetch_local, entry, file.fileno())
    return io.BufferedReader(cast(io.RawIOBase, _Window(entry.size, fetch, file.close)), LOCAL_CHUNK)


def _fetch_local(entry: Blob, handle: int, start: int, length: int) -> bytes:
    data = os.pread(handle, length, entry.offset + start)
    if len(data) != length:
        raise Changed(f"{entry.path}: ends before byte {entry.offset + start + length}; run again")
    return data


def _walk_local(root: str) -> tuple[list[tuple[str, Blob]], list[Passed]]:
    if not Path(root).is_dir():
        raise WrongUse(f"{root}: no such folder; correct the path of its source in params.yaml")
    found: list[tuple[str, Blob]] = []
    passed: list[Passed] = []
    folders = [""]
    while folders:
        inside = folders.pop()
        try:
            entries = os.scandir(f"{root.rstrip('/')}/{inside}")
        except OSError as error:
            passed.append(Passed(inside or ".", "unreadable", f"{inside or root}: {error.strerror}"))
            continue
        with entries:
            for entry in entries:
                name = inside + entry.name
                if entry.name.startswith("."):
                    continue
                if not nameable(entry.name):
                    passed.append(_unprintable(name))
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                else:
                    _take(name, entry, found, passed)
    return found, passed


def _take(name: str, entry: "os.DirEntry[str]", found: list[tuple[str, Blob]], passed: list[Passed]) -> None:
    try:
        status = entry.stat()
    except OSError as error:
        reason = "absent" if error.errno in (errno.ENOENT, errno.ELOOP) else "unreadable"
        passed.append(Passed(name, reason, f"{name}: a link that cannot be followed ({error.strerror})"))
        return
    if stat.S_ISREG(status.st_mode):
        found.append((name, Blob(entry.path, 0, status.st_size, _stamp(status))))
    elif stat.S_ISDIR(status.st_mode):
        detail = f"{name}: a link to a folder, which is not followed; put the folder itself there"
        passed.append(Passed(name, "link_to_folder", detail))
    else:
        passed.append(Passed(name, "not_a_file", f"{name}: a pipe, socket or device; take it out"))


def _unprintable(name: str) -> Passed:
    shown = ascii(name)
    return Passed(shown, "unprintable_name", f"{shown}: a name with line ends, control characters or not UTF-8; rename")


# ---------------------------------------------------------------------------------------------------- an object store


def _look_remote(path: str) -> Blob:
    bucket, key = _bucket_and_key(path)
    head = _patiently(path, lambda: _store().call_s3("head_object", Bucket=bucket, Key=key))
    return Blob(path, 0, head["ContentLength"], f"{head['ETag']}-{head['ContentLength']}")


def _open_remote(entry: Blob) -> BinaryIO:
    def fetch(start: int, length: int) -> bytes:
        return _patiently(entry.path, lambda: _in_loop(_ranges([entry], start, length))[0])

    window = _Window(entry.size, fetch, lambda: None)
    return io.BufferedReader(cast(io.RawIOBase, window), max(1, min(entry.size, REMOTE_CHUNK)))


def _read_together(entries: Sequence[Blob], limit: int) -> Iterator[bytes | WrongUse]:
    """All at once first; whatever fails is read again by itself, with patience."""
    small = [entry for entry in entries if is_remote(entry.path) and 0 < entry.size <= limit]
    try:
        got = dict(zip(small, _in_loop(_ranges(small, 0, None)), strict=True)) if small else {}
    except (*_passing(), WrongUse):
        got = {}
    for entry in entries:
        yield got[entry] if entry in got else _tried(entry, limit)


async def _ranges(entries: Sequence[Blob], start: int, length: int | None) -> list[bytes]:
    import asyncio

    return await asyncio.gather(*(_range(entry, start, entry.size if length is None else length) for entry in entries))


async def _range(entry: Blob, start: int, length: int) -> bytes:
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


def _walk_remote(root: str) -> tuple[list[tuple[str, Blob]], list[Passed]]:
    bucket, prefix = _bucket_and_key(root)
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    found: list[tuple[str, Blob]] = []
    passed: list[Passed] = []
    for key, size, etag in _keys(root, bucket, prefix):
        name = key.removeprefix(prefix)
        if not name or name.endswith("/") or any(_is_hidden(part) for part in name.split("/")):
            continue  # a folder's mark, or a hidden name
        if not nameable(name) or ".." in name.split("/") or PurePosixPath(name).as_posix() != name or name[0] == "/":
            passed.append(_unprintable(name))
        else:
            found.append((name, Blob(f"{S3}{bucket}/{key}", 0, size, f"{etag}-{size}")))
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
            if getattr(error, "errno", None) == errno.EINVAL:  # the store understood and will not
                raise Changed(f"{path}: {error}; run again") from None
            if time.monotonic() + pause > deadline:
                message = f"{path}: the object store did not answer for {PATIENCE:g} s ({error}); run it again"
                raise Unreachable(message) from None
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
