"""git and DVC as commands: what they print, and what they say is wrong."""

import os
import subprocess
import sys
from pathlib import Path

from prefect import get_run_logger

from flows import process


class CommandFailed(RuntimeError):
    """A command ended with an error; the message holds the command, the folder and its last words."""


def git(folder: Path, *words: str, strip: bool = True, **settings: str) -> str:
    """What git prints; ``settings`` are variables of its environment. Raises CommandFailed."""
    done = subprocess.run(
        ["git", *words], cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CommandFailed(f"git {' '.join(words)} in {folder}: {done.stderr.strip()}")
    return done.stdout.rstrip("\n") if strip else done.stdout


def is_repository(folder: Path) -> bool:
    """Whether a folder lies in a git repository."""
    return (
        subprocess.run(["git", "rev-parse", "--git-dir"], cwd=folder, capture_output=True, check=False).returncode == 0
    )


def dvc(folder: Path, *words: str) -> None:
    """Run DVC inside a task, whose log gets its lines; raises CommandFailed."""
    logger, last = get_run_logger(), ""
    running = process.Process([sys.executable, "-m", "dvc", "--wait-for-lock", *words], folder)
    for line in running.lines():
        logger.info(last := line)
    if code := running.wait():
        raise CommandFailed(f"dvc {' '.join(words)} in {folder} ended with exit code {code}: {last}")
