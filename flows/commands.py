"""git and DVC as commands: what they print, and what they say is wrong."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

from prefect import get_run_logger

from flows import process

NONE: Mapping[str, str] = {}
LAST = 5  # lines of a failed command that its error repeats


class CommandFailed(RuntimeError):
    """A command ended with an error; the message holds the command, the folder and its last words."""


def git(folder: Path, *words: str, strip: bool = True, settings: Mapping[str, str] = NONE) -> str:
    """What git prints; ``settings`` are variables of its environment. Raises CommandFailed."""
    done = subprocess.run(
        ["git", *words], cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CommandFailed(f"git {' '.join(words)} in {folder}: {done.stderr.strip()}")
    return done.stdout.rstrip("\n") if strip else done.stdout


def changes(folder: Path, made: Iterable[str]) -> list[str]:
    """Tracked files that differ from the last commit, but for what DVC writes, and its stages: ``made``."""
    ignored = [f":(exclude){name}" for name in ("dvc.lock", *made)] + [":(exclude,glob)**/.gitignore"]
    shown = git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", *ignored)
    return [line[3:] for line in shown.splitlines()]


def is_repository(folder: Path) -> bool:
    """Whether a folder lies in a git repository."""
    return (
        subprocess.run(["git", "rev-parse", "--git-dir"], cwd=folder, capture_output=True, check=False).returncode == 0
    )


def dvc(folder: Path, *words: str) -> None:
    """Run DVC inside a task, whose log gets its lines; raises CommandFailed."""
    logger, last = get_run_logger(), deque[str](maxlen=LAST)
    running = process.Process([sys.executable, "-m", "dvc", "--wait-for-lock", *words], folder)
    for line in running.lines():
        logger.info(line)
        last.append(line)
    if code := running.wait():
        raise CommandFailed(f"dvc {' '.join(words)} in {folder} ended with exit code {code}: {' '.join(last)}")
