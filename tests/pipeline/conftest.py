"""Stages in this process, where many refusals cost no start."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def main_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a stage's ``main`` in a project's folder: ``main_in(project, "train", "teacher")``."""

    def call(project: Path, stage: str, *arguments: str) -> None:
        monkeypatch.chdir(project)
        monkeypatch.setattr(sys, "argv", [stage, *arguments])
        importlib.import_module(f"stages.{stage}").main()

    return call
