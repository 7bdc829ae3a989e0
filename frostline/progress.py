"""What a training remembers of itself: where it stands and what its losses were.

Names:  stretch  steps whose mean loss is one point of the curve
        span     steps over which losses are told apart by sigma: ten stretches
        bins     of sigma, equally wide, from 0 to 1
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

CURVE_POINTS = 200
STRETCHES = 10  # in a span
BINS = 10

Point = dict[str, float]


def _nothing() -> list[list[float]]:
    return [[0.0, 0.0] for _ in range(BINS)]


@dataclass(kw_only=True)
class Progress:
    """Where a training stands; equal for a run that was stopped and one that was not."""

    step: int = 0
    losses: list[float] = field(default_factory=list)  # of the stretch that is under way
    bins: list[list[float]] = field(default_factory=_nothing)  # sum and count of the losses of the span under way
    curve: list[Point] = field(default_factory=list)  # step, loss: means over stretches
    by_sigma: list[dict[str, float | None]] = field(default_factory=list)  # step, mean loss of each bin of a span
    validation: list[Point] = field(default_factory=list)  # step, loss per bucket
    proof: list[Point] = field(default_factory=list)  # step, figures of samples beside a teacher's
    skipped: list[int] = field(default_factory=list)  # steps whose losses or gradients were no numbers
    checks: dict[str, Point] = field(default_factory=dict)  # what was measured last of each check of a running training

    def state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Progress":
        """What ``state`` gave; other values beside it are left alone, and what an older state lacks is empty."""
        return cls(**{name: state[name] for name in cls.__dataclass_fields__ if name in state})

    def take(self, losses: Tensor, sigma: Tensor, planned: int, *, last: bool) -> None:
        """Count a step with the losses of its rows (B,) at their sigmas (B,)."""
        self.step += 1
        self.losses.append(losses.mean().item())
        for place, loss in zip(_bin(sigma), losses.tolist(), strict=True):
            self.bins[place][0] += loss
            self.bins[place][1] += 1
        stretch = max(1, planned // CURVE_POINTS)
        if self.step % (stretch * STRETCHES) == 0 or last:
            means = [total / count if count else None for total, count in self.bins]
            self.by_sigma.append({"step": self.step, **dict(zip(_names(), means, strict=True))})
            self.bins = _nothing()
        if self.step % stretch == 0 or last:
            self._point()

    def skip(self, *, last: bool) -> None:
        """Count a step that was left out."""
        self.skipped.append(self.step)
        self.step += 1
        if last and self.losses:
            self._point()

    @property
    def loss(self) -> float | None:
        """The mean of the stretch that is under way, or of the last one; None before there was a step."""
        if self.losses:
            return sum(self.losses) / len(self.losses)
        return self.curve[-1]["loss"] if self.curve else None

    def _point(self) -> None:
        self.curve.append({"step": self.step, "loss": sum(self.losses) / len(self.losses)})
        self.losses.clear()

    def validated(self, losses: Point) -> bool:
        """Take the losses of a validation; True if their mean is the lowest so far."""
        before = [validation_loss(point) for point in self.validation]
        self.validation.append({"step": self.step, **losses})
        return not before or validation_loss(self.validation[-1]) < min(before)

    def prove(self, figures: Point | None) -> None:
        """Take the figures of samples beside a teacher's, where there are some."""
        if figures is not None:
            self.proof.append({"step": self.step, **figures})


def validation_loss(point: Point) -> float:
    """The mean of a validation's losses over the buckets."""
    losses = [value for name, value in point.items() if name != "step"]
    return sum(losses) / len(losses)


def _bin(sigma: Tensor) -> list[int]:
    return [max(0, min(int(value * BINS), BINS - 1)) for value in sigma.tolist()]


def _names() -> Sequence[str]:
    return [f"{place / BINS:g}-{(place + 1) / BINS:g}" for place in range(BINS)]
