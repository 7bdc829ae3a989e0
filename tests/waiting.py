"""Waiting in a test: for a while, never for ever."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
SECONDS = 120.0  # enough for a process to start on a busy machine


def until(condition: Callable[[], Answer], seconds: float = SECONDS) -> Answer:
    """Its first answer that is true; fails if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s"
        time.sleep(0.01)
    return answer
