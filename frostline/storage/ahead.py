"""Ranges of objects that come before they are wanted, in memory, up to a bound.

They stay until others need their room, the oldest first: what was read may be wanted again, as captions are.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future

from frostline.errors import FrostlineError
from frostline.storage import connection
from frostline.storage.extents import Extent

BOUND = 256 << 20  # bytes, of each process

Get = Callable[[Extent, int, memoryview], Awaitable[None]]
_Key = tuple[int, Extent, int, int]  # process, object, place, length


class _Coming:
    def __init__(self) -> None:
        self.ranges: OrderedDict[_Key, Future[bytearray]] = OrderedDict()
        self.size = 0
        self.lock = threading.Lock()


_coming = _Coming()


def begin(entry: Extent, place: int, length: int, get: Get) -> None:
    """Have a range fetched by ``get``, unless it is on its way, or larger than all that may be."""
    key = (os.getpid(), entry, place, length)
    with _coming.lock:
        if key in _coming.ranges or length > BOUND:
            return
        while _coming.size + length > BOUND:
            (_, _, _, gone), future = _coming.ranges.popitem(last=False)
            _coming.size -= gone
            future.cancel()
        _coming.ranges[key] = connection.start(_fetch(entry, place, length, get))
        _coming.size += length


def take(entry: Extent, place: int, view: memoryview) -> bool:
    """Fill ``view`` with a range that was begun; False if it was not, is gone again, or did not come."""
    key = (os.getpid(), entry, place, len(view))
    with _coming.lock:
        future = _coming.ranges.get(key)
    if future is None:
        return False
    try:
        view[:] = future.result()
    except (FrostlineError, CancelledError):
        with _coming.lock:
            _coming.size -= len(view) if _coming.ranges.pop(key, None) else 0
        return False  # who asks for it again will hear why
    return True


def held() -> int:
    """Bytes that ranges take that came, or will come."""
    return _coming.size


async def _fetch(entry: Extent, place: int, length: int, get: Get) -> bytearray:
    data = bytearray(length)
    async with connection.turn():
        await get(entry, place, memoryview(data))
    return data


def clear() -> None:
    """Give up all that came, or is coming: in a process that was forked it never comes."""
    global _coming
    _coming = _Coming()


os.register_at_fork(after_in_child=clear)
