"""Texts as configs of a tool."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frostline import importing
from frostline.importing.sections import Imported


@pytest.fixture
def import_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Imported]:
    """Imports a text as if it were a tool's config, from a folder without data."""
    monkeypatch.chdir(tmp_path)

    def run(tool: str, text: str) -> Imported:
        Path("dataset.toml").write_text(text, "utf-8")
        return importing.read(tool, Path("dataset.toml"))

    return run


def only(imported: Imported) -> Any:
    """The one source that there is."""
    [source] = imported.sources.values()
    return source
