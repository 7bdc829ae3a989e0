"""Where the numbers of each revision are kept, and how far new ones may be from them."""

import json
from pathlib import Path

import numpy as np

from frostline import files, revisions
from tests.golden.runs import Numbers

FOLDER = Path(__file__).parent
TOLERANCE = 1e-4  # relative, of each list's norm: other processors round in another order
HOW = (
    "If that is meant, raise the number of '{stage}' in frostline/revisions.yaml and write the new numbers with "
    "`python -m tests.golden`; if not, find what changed them."
)


def file(stage: str) -> Path:
    """The file of a stage's numbers at its revision."""
    return FOLDER / f"revision-{stage}-{revisions.of(stage)}.json"


def read(stage: str) -> Numbers:
    """The committed numbers."""
    return json.loads(file(stage).read_text())


def write(stage: str, numbers: Numbers) -> None:
    """Keep the numbers of a new revision."""
    files.write_json(file(stage), numbers)


def changes(expected: Numbers, found: Numbers) -> list[str]:
    """What differs, by name, as lines to read."""
    lines = [f"{name}: only in one of the two" for name in sorted(expected.keys() ^ found.keys())]
    for name in sorted(expected.keys() & found.keys()):
        distance = _distance(expected[name], found[name])
        if not distance <= TOLERANCE:
            lines.append(f"{name}: {distance:.2g} away, {TOLERANCE:g} allowed")
    return lines


def _distance(expected: list[float] | str, found: list[float] | str) -> float:
    if isinstance(expected, str) or isinstance(found, str):
        return 0.0 if expected == found else float("inf")
    if len(expected) != len(found):
        return float("inf")
    norm = float(np.linalg.norm(expected))
    distance = float(np.linalg.norm(np.subtract(found, expected)))
    return distance / norm if norm else distance
