"""Stages in this process, where many refusals cost no start."""

import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def main_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Runs a stage's ``main`` in a project's folder: ``main_in(project, "train", "teacher")``."""
    before = signal.getsignal(signal.SIGTERM)

    def call(project: Path, stage: str, *arguments: str) -> None:
        monkeypatch.chdir(project)
        monkeypatch.setattr(sys, "argv", [stage, *arguments])
        importlib.import_module(f"stages.{stage}").main()

    yield call
    signal.signal(signal.SIGTERM, before)
