"""The connection to an object store: one client and one event loop in each process, patience, what an answer means.

s3fs makes client and loop, and makes them anew in a process that was forked. Requests go through aiobotocore's client
itself, because s3fs tries again five times of its own accord and gives up after some three seconds.

Credentials, region and endpoint of a store are those boto finds: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_ENDPOINT_URL, or the files in ~/.aws. s3fs is imported when the first object is asked for and not before.
"""

import asyncio
import contextlib
import functools
import http.client
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from frostline.errors import FrostlineError, WrongUse
from frostline.storage.extents import Changed, Gone, Unreachable

S3 = "s3://"
PATIENCE = 60.0  # seconds in which a request must get its answer, or MOVED bytes further
MOVED = 1 << 18
CONNECTIONS = 64
IN_THE_BACKGROUND = 32  # ranges that come before they are wanted
ABSENT = {"NoSuchBucket": "bucket", "NoSuchUpload": "upload; see that one process writes there, and run again"}
PASSING_CODES = ("BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch")  # damaged on the way

T = TypeVar("T")
Asked = TypeVar("Asked")


class Clock:
    """Until when a request is waited for: PATIENCE seconds from its first try, or from where bytes moved last."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._moved, self._deadline = 0, self._loop.time() + PATIENCE
        self._limit = asyncio.timeout_at(self._deadline)

    def moved(self, count: int) -> None:
        """So many more bytes came or went."""
        self._moved += count
        if self._moved >= MOVED:
            self._moved, self._deadline = 0, self._loop.time() + PATIENCE
            self._limit.reschedule(self._deadline)

    def limit(self) -> asyncio.Timeout:
        """Ends what is awaited in it at the deadline, wherever that has moved to by then."""
        self._limit = asyncio.timeout_at(self._deadline)
        return self._limit

    def left(self) -> float:
        """Seconds."""
        return self._deadline - self._loop.time()


Action = Callable[[Any, Clock], Awaitable[T]]  # what is done with a client; tells the clock what moved


def bucket_and_key(path: str) -> tuple[str, str]:
    """The two parts of an address; raises WrongUse if it names no bucket."""
    bucket, _, key = path.removeprefix(S3).partition("/")
    if not bucket:
        raise WrongUse(f"{path}: names no bucket; write {S3}bucket/prefix")
    return bucket, key


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do it in this process's loop and wait for it; what ends the waiting ends the work too, and its clearing up."""
    loop, ended = _loop(work), threading.Event()

    async def tracked() -> T:
        try:
            return await work
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(tracked(), loop)
    try:
        return future.result()
    except BaseException:
        if future.cancel():
            ended.wait(5)
        raise


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Do it in this process's loop and do not wait for it."""
    future = asyncio.run_coroutine_threadsafe(work, _loop(work))
    _started.add(future)
    future.add_done_callback(_started.discard)
    return future


@contextlib.asynccontextmanager
async def turn() -> AsyncIterator[None]:
    """Wait until few enough others are in here: what nobody waits for yet takes no more memory than that."""
    loop = asyncio.get_running_loop()
    if loop not in _turns:  # another one after a fork
        _turns[loop] = asyncio.Semaphore(IN_THE_BACKGROUND)
    async with _turns[loop]:
        yield


def _loop(work: Coroutine[Any, Any, Any]) -> asyncio.AbstractEventLoop:
    """Where it is done; raises WrongUse without s3fs, and then it is not."""
    try:
        return _store().loop
    except WrongUse:
        work.close()
        raise


_started: set[Future[Any]] = set()  # the loop itself does not hold what it is asked to do
_turns: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


async def call(path: str, method: str, **arguments: Any) -> Any:
    """One request of the S3 interface about ``path``, with patience."""

    async def action(client: Any, _: Clock) -> Any:
        return await getattr(client, method)(**arguments)

    return await patiently(path, action)


async def patiently(path: str, action: Action[T]) -> T:
    """Do it, again and again while the store is away.

    Raises Gone, Changed, WrongUse or Unreachable, all naming ``path``.
    """
    from botocore import exceptions

    try:
        client = await _store().set_session()
        clock, pause = Clock(), 0.1
        while True:
            try:
                async with clock.limit():
                    return await action(client, clock)
            except exceptions.ClientError as error:
                if (verdict := _verdict(path, error)) is not None:
                    raise verdict from None
                reason = str(error)
            except _passing() as error:
                reason = str(error) or "no answer in time"
            if clock.left() < pause:
                raise Unreachable(f"{path}: no good answer for {PATIENCE:g} s ({reason}); run the same command again")
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)
    except exceptions.BotoCoreError as error:
        why = " ".join(str(error).split())
        raise WrongUse(f"{path}: refused ({why}); check the address, the AWS_... variables, or ~/.aws") from None


async def each(work: Callable[[Asked], Awaitable[T]], asked: Iterable[Asked], limit: int) -> list[T]:
    """The results of ``work`` in order, at most ``limit`` under way at once; the first that fails ends the others."""
    numbered = enumerate(asked)
    results: dict[int, T] = {}

    async def worker() -> None:
        for number, one in numbered:
            results[number] = await work(one)

    workers = [asyncio.create_task(worker()) for _ in range(limit)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[number] for number in sorted(results)]


def _verdict(path: str, error: Any) -> FrostlineError | None:
    """What an answer other than success means; None where it may be another one soon."""
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status == http.client.NOT_FOUND:
        return Gone(f"{path}: no such {ABSENT.get(code, 'object')}")
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return WrongUse(f"{path}: refused ({error}); check the AWS_... variables, or ~/.aws")
    if status in (http.client.PRECONDITION_FAILED, http.client.REQUESTED_RANGE_NOT_SATISFIABLE):
        return Changed(f"{path}: another object than when it was listed ({error}); run again")
    if code in PASSING_CODES or status in (http.client.CONFLICT, http.client.TOO_MANY_REQUESTS):
        return None
    if status < http.client.INTERNAL_SERVER_ERROR or status == http.client.NOT_IMPLEMENTED:
        return WrongUse(f"{path}: refused ({error}); check the bucket, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION")
    return None


@functools.cache
def _passing() -> tuple[type[Exception], ...]:
    """What an outage looks like."""
    import aiohttp
    from botocore import exceptions, parsers

    return (
        OSError,
        http.client.IncompleteRead,
        aiohttp.ClientError,
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
        parsers.ResponseParserError,  # a proxy that answers in HTML
    )


def _store() -> Any:
    """s3fs's file system; it keeps one for each process."""
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
        "max_pool_connections": CONNECTIONS,
        "retries": {"total_max_attempts": 1},  # ``patiently`` tries again
    }
    return s3fs.S3FileSystem(endpoint_url=endpoint, use_listings_cache=False, config_kwargs=settings)
