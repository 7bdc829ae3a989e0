"""What was found of a cache or of the pool: one thing, one line, with the remedy."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Verdict = Literal["damaged", "differs", "note"]
REPAIR = "`frostline cache verify --repair` takes it away, and what was lost is encoded again"
AGAIN = "make the cache again with `dvc repro`"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found.

    damaged: bytes are not what they were, or never were right; repair takes them away. differs: whole, but not what is
    asked for. note: nothing is wrong.
    """

    verdict: Verdict
    path: Path
    what: str
    remedy: str = ""
    row: int | None = None
    row_is: str = ""  # its item and id, or its caption

    @property
    def line(self) -> str:
        """Where, what, and what to do."""
        row = "" if self.row is None else f", row {self.row}"
        named = f" ({self.row_is})" if self.row_is else ""
        return f"{self.path}{row}{named}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")

    @property
    def facts(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "verdict": self.verdict,
            "path": str(self.path),
            "row": self.row,
            "row_is": self.row_is,
            "what": self.what,
            "remedy": self.remedy,
        }


def damaged(path: Path, what: str, row: int | None = None, row_is: str = "") -> Finding:
    """Something that repair takes away."""
    return Finding(verdict="damaged", path=path, what=what, remedy=REPAIR, row=row, row_is=row_is)


def differs(path: Path, what: str, remedy: str) -> Finding:
    """Something whole that is not what is asked for."""
    return Finding(verdict="differs", path=path, what=what, remedy=remedy)


def note(path: Path, what: str) -> Finding:
    """Something worth saying."""
    return Finding(verdict="note", path=path, what=what)


def wrong(found: Iterable[Finding]) -> bool:
    """Is there more than notes?"""
    return any(finding.verdict != "note" for finding in found)


def damaged_paths(found: Iterable[Finding]) -> set[Path]:
    """What repair is to take away."""
    return {finding.path for finding in found if finding.verdict == "damaged"}
