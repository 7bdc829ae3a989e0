"""What an estimate is made of: numbers, each with the formula it came from."""

from dataclasses import dataclass
from typing import Literal

from frostline.pages import words

Unit = Literal["parameters", "bytes", "FLOP", "hours", "money"]
PREFIXES = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1.0, "FLOP"))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a stage."""

    name: str
    value: float
    unit: Unit
    formula: str  # with its numbers put in


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one stage takes."""

    name: str  # as dvc.yaml has it: train@teacher
    what: str  # in short
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()

    def value(self, name: str) -> float:
        """The number of a figure; raises KeyError if there is none of the name."""
        return {figure.name: figure.value for figure in self.figures}[name]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What all stages take."""

    assumptions: tuple[str, ...]
    stages: tuple[Stage, ...]


def said(figure: Figure) -> str:
    """A figure's number in words: 5.68 GB, 4.91 TFLOP, 12,579."""
    if figure.unit == "bytes":
        return words.of_bytes(figure.value)
    if figure.unit == "FLOP":
        return of_flops(figure.value)
    if figure.unit in ("hours", "money"):
        return f"{figure.value:,.3g}" if figure.value < 1000 else f"{figure.value:,.0f}"
    return f"{figure.value:,.0f}"


def of_flops(count: float) -> str:
    """A number of operations: 4.91 TFLOP."""
    size, prefix = next((pair for pair in PREFIXES if count >= pair[0]), PREFIXES[-1])
    return f"{count / size:.3g} {prefix}"
