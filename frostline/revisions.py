"""The meaning of the expensive stages as numbers: code that changes their results raises theirs, a comment does not."""

from pathlib import Path

import yaml

from frostline.errors import WrongUse

FILE = Path(__file__).with_name("revisions.yaml")


def of(stage: str) -> int:
    """The revision of a stage; raises WrongUse for a stage that has none."""
    numbers = yaml.safe_load(FILE.read_text("utf-8"))
    if stage not in numbers:
        raise WrongUse(f"{FILE}: names no revision for the stage '{stage}'")
    return numbers[stage]
