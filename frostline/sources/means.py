"""With what a source is read. Nothing here has any influence on its rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline import workspace
from frostline.manifest import Columns
from frostline.sources.seen import Seen

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # what a progress bar does to the things it counts


def _look_away(_: Columns[Seen]) -> None:
    """Nobody wants to see it."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """How media are read, and what is remembered of them where."""

    work: Path = workspace.WORK  # what was read or made once is kept below it
    processes: int = 0  # that decode; 0: this one
    verify: bool = False  # read all bytes, whatever sizes and times say
    progress: Progress = iter
    look: Callable[[Columns[Seen]], None] = _look_away  # is shown once what was seen of all media

    def probes(self, source: str) -> Path:
        """Where a source's probes are kept."""
        return self.work / "probes" / f"{source}.sqlite"

    def texts(self, source: str) -> Path:
        """Where the small texts of a source are kept."""
        return self.work / "texts" / f"{source}.sqlite"

    def rows(self, source: str) -> Path:
        """Where the rows of a source are kept, by what they were made from."""
        return self.work / "rows" / source

    def captions(self, source: str) -> Path:
        """Where the captions made for a source are kept."""
        return self.work / "captions" / source

    def pictures(self, source: str) -> Path:
        """Where the thumbnails of a source's examples are kept."""
        return self.work / "pictures" / source
