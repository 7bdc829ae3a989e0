"""Processes beside a test. They end with the tests at the latest, and are never waited for without a limit.

A fork has the locks that other threads of the test process held, its answers to signals, and, where Prefect was used
before, an end that makes every exit code 1. So what is not about forks is spawned, and forks are killed.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from tests.waiting import SECONDS


def start(target: Callable[..., Any], *arguments: Any, **named: Any) -> BaseProcess:
    """Call it there; what is passed can be pickled, and the environment is that of now."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, kwargs=named, daemon=True)
    process.start()
    return process


def forked(target: Callable[..., Any], *arguments: Any) -> Any:
    """What it gives in a fork of this process, as the readers of a training are; fails if that says nothing in time."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, target, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(SECONDS), f"the fork said nothing within {SECONDS:g} s"
        return ours.recv()
    finally:
        process.kill()
        process.join()


def _answer(line: Connection, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    line.send(target(*arguments))
