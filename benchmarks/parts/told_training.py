"""The train stage, telling in a shared file what it is doing: `python -m benchmarks.parts.told_training ...`.

Byte 0 is the phase, counted from 1; byte 1 changes with every change of phase. What the stage does is not touched.
"""

import functools
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import stages
from frostline import validation
from frostline.checkpoints import Checkpoints
from stages import train

PHASES = ("a step", "a checkpoint", "a validation")
TOLD = "told"


def main() -> None:
    """Train, and tell."""
    with Path(TOLD).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 8)
    Checkpoints.restore = telling(shared, 0, 1, Checkpoints.restore)  # after it, steps begin
    Checkpoints._write = telling(shared, 2, 1, Checkpoints._write)  # beside the steps
    validation.losses = telling(shared, 3, 1, validation.losses)
    train.main()


def telling(shared: mmap.mmap, during: int, after: int, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work, told when it begins and ends."""

    def tell(phase: int) -> None:
        shared[0], shared[1] = phase, (shared[1] + 1) % 256

    @functools.wraps(work)
    def told(*given: Any, **named: Any) -> Any:
        tell(during)
        try:
            return work(*given, **named)
        finally:
            tell(after)

    return told


if __name__ == "__main__":
    stages.run(main)
