"""A folder for what a measurement writes: on the project's disk, or in the temporary folder where little is written."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import Frame

KEPT = Path(".work/benchmarks")


@contextlib.contextmanager
def folder(frame: Frame) -> Iterator[Path]:
    """A folder that goes when it was used."""
    if not frame.quick:
        KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=None if frame.quick else KEPT) as temporary:
        yield Path(temporary).absolute()
