"""Waiting in a test: for a while, never for ever."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from frostline.storage import connection

Answer = TypeVar("Answer")
SECONDS = 120.0  # enough for a process to start on a busy machine


def until(condition: Callable[[], Answer], seconds: float = SECONDS) -> Answer:
    """Its first answer that is true; fails if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s"
        time.sleep(0.01)
    return answer


@contextlib.contextmanager
def impatient(seconds: float = 1.0) -> Iterator[None]:
    """So long is long where an answer of a store is to fail; what is to succeed needs the usual patience."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "PATIENCE", seconds)
        yield
