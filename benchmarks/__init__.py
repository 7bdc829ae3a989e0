"""The promised figures: one script per group, each measured, never written by hand.

    python -m benchmarks.NAME [--quick] [--only PART ...]

prints a table and writes benchmarks/results/NAME.json. `--quick` (seconds a part) goes through the same code at a tiny
size and writes nothing; what a part lacks is listed as not run, never as met. A verdict is always computed from value,
op and target, so none is stored.
"""

import argparse
import dataclasses
import datetime as dt
import importlib.metadata
import operator
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline import files, workspace

workspace.settle()  # before torch is loaded: figures are measured as the stages compute

RESULTS = Path("benchmarks/results")
OPERATORS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}
PACKAGES = ("torch", "diffusers", "transformers", "torchmetrics", "dvc", "prefect", "mlflow", "pyarrow")
NOT_RUN = "not run: "  # a note that begins so explains a missing value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """One promised figure: met when `value op target` holds; a value of None was not measured."""

    figure: str  # stable short name
    value: float | None
    target: float
    op: str
    unit: str
    n: int
    spread: str  # what the value varies by: an interval, a range over seeds
    note: str
    commit: str  # of the code that was measured

    @property
    def met(self) -> bool:
        """Whether the promise holds; never for a figure that was not measured."""
        return self.value is not None and OPERATORS[self.op](self.value, self.target)


class Frame:
    """Collects the figures of one run of one script."""

    def __init__(self, name: str, *, quick: bool) -> None:
        self.name = name
        self.quick = quick
        self.commit = commit()
        self.figures: list[Figure] = []

    def record(
        self, figure: str, value: float | None, target: float, op: str, *, unit: str, n: int, spread: str, note: str
    ) -> None:
        """Take down one figure and print it. Numbers are kept to five significant digits."""
        if op not in OPERATORS:
            raise ValueError(f"op {op!r} of figure {figure!r}: one of {', '.join(OPERATORS)}")
        if figure in {known.figure for known in self.figures}:
            raise ValueError(f"figure {figure!r} was recorded twice in one run")
        kept = None if value is None else significant(value)
        row = Figure(
            figure=figure,
            value=kept,
            target=target,
            op=op,
            unit=unit,
            n=n,
            spread=spread,
            note=note,
            commit=self.commit,
        )
        self.figures.append(row)
        print(line(row, rehearsed=self.quick), flush=True)

    def not_run(self, figure: str, target: float, op: str, *, unit: str, reason: str) -> None:
        """Take down that a figure could not be measured, and why: it counts as missed."""
        self.record(figure, None, target, op, unit=unit, n=0, spread="", note=NOT_RUN + reason)


def main(name: str, parts: Mapping[str, Callable[[Frame], None]], argv: Sequence[str] | None = None) -> Frame:
    """Run the parts of a script and, unless quick, merge their figures into its results."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="a tiny size, seconds a part; writes nothing")
    parser.add_argument(
        "--only", nargs="+", choices=list(parts), default=list(parts), metavar="PART", help=", ".join(parts)
    )
    asked = parser.parse_args(argv)
    frame = Frame(name, quick=asked.quick)
    try:
        for part in asked.only:
            started = time.perf_counter()
            print(f"{part}:", flush=True)
            parts[part](frame)
            print(f"  {part} took {time.perf_counter() - started:.1f} s", flush=True)
    finally:  # what was measured before something failed took long and is true
        if not frame.quick:
            save(frame, RESULTS / f"{name}.json", command=_command(name, asked, parts))
    return frame


def save(frame: Frame, path: Path, command: str) -> None:
    """Merge figures into a results file: those measured now replace their namesakes, the others stay."""
    new = {row.figure: dataclasses.asdict(row) for row in frame.figures}
    old = files.read_json(path)["figures"] if path.exists() else []
    rows = [new.pop(row["figure"]) if row["figure"] in new else row for row in old] + list(new.values())
    files.write_json(path, {**head(frame.commit, command), "figures": rows})
    print(f"wrote {path}")


def head(at: str, command: str) -> dict[str, Any]:
    """Where and with what a run was made."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "commit": at,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **packages},
        "command": command,
    }


def machine() -> str:
    """The processor and what of it a run may use."""
    model = [
        row.split(":")[1].strip()
        for row in Path("/proc/cpuinfo").read_text().splitlines()
        if row.startswith("model name")
    ]
    cores = len(os.sched_getaffinity(0))
    return f"{model[0] if model else platform.machine()}, {cores} cores, {platform.system()} {platform.machine()}"


def commit() -> str:
    """The commit that is measured, marked when the working tree differs from it."""
    at = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results", ":!docs")
    return at + ("+changes" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()


def _command(name: str, asked: argparse.Namespace, parts: Mapping[str, object]) -> str:
    only = "" if list(asked.only) == list(parts) else " --only " + " ".join(asked.only)
    return f"python -m benchmarks.{name}{only}"


def significant(value: float) -> float:
    """Five significant digits: finer differences are not promised."""
    return float(f"{value:.5g}")


def line(row: Figure, *, rehearsed: bool) -> str:
    """One row of the printed table; a rehearsed value says nothing about the promise, so it gets no verdict."""
    if row.value is None:
        return f"  not run    {row.figure:<32} {row.note.removeprefix(NOT_RUN)}"
    verdict = "rehearsed" if rehearsed else "met" if row.met else "MISSED"
    spread = f"  ({row.spread})" if row.spread else ""
    return f"  {verdict:<10} {row.figure:<32} {row.value:>10g} {row.op} {row.target:g} {row.unit}  n={row.n}{spread}"
