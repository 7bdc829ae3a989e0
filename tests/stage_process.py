"""A stage as DVC runs it: a process of its own in a project's folder."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 300
Running = subprocess.Popen[str]
Finished = subprocess.CompletedProcess[str]


def start(project: Path, stage: str, *arguments: str) -> Running:
    """The stage of this checkout, at work in the project's folder."""
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: Running) -> Finished:
    """What it said, once it is at its end."""
    try:
        out, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()  # what is still at work after all that time
    return Finished(process.args, process.returncode, out, errors)


def run(project: Path, stage: str, *arguments: str) -> Finished:
    """From start to end."""
    return ended(start(project, stage, *arguments))


def refused(result: Finished, code: int, *words: str) -> None:
    """One error with these words, the last that is said; this exit code, and no traceback."""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert (result.returncode, len(errors)) == (code, 1), result.stderr
    assert "Traceback" not in result.stderr
    said = result.stderr[result.stderr.index(errors[0]) :]
    for word in words:
        assert word in said
