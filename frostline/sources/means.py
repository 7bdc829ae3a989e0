"""With what a source is read. Nothing here has any influence on its rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline import workspace
from frostline.media import Probe

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # what a progress bar does to the things it counts


def _look_away(_: Probe) -> None:
    """Nobody wants to see the probes."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """How media are read, and what is remembered of them where."""

    work: Path = workspace.WORK  # probes and captions that were made once are kept below it
    processes: int = 0  # that decode; 0: this one
    verify: bool = False  # read all bytes, whatever sizes and times say
    progress: Progress = iter
    look: Callable[[Probe], None] = _look_away  # is shown every probe once

    def probes(self, source: str) -> Path:
        """Where a source's probes are kept."""
        return self.work / "probes" / f"{source}.sqlite"

    def captions(self, source: str) -> Path:
        """Where the captions made for a source are kept."""
        return self.work / "captions" / source

    def pictures(self, source: str) -> Path:
        """Where the thumbnails of a source's examples are kept."""
        return self.work / "pictures" / source
