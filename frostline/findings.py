"""What a check is, and what it found."""

import operator
from collections.abc import Mapping
from typing import Literal

from frostline.records import Record

Verdict = Literal["pass", "warn", "fail", "not-applicable"]

HOLDS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}


class Bound(Record):
    """What a measured quantity must keep to, and the verdict when it does not."""

    measure: str
    op: Literal["<", "<=", ">", ">=", "=="]
    value: float
    otherwise: Literal["warn", "fail"] = "fail"

    def held(self, measured: float) -> bool:
        """Whether the measured value keeps to the bound; nothing keeps to a bound by being no number."""
        return bool(HOLDS[self.op](measured, self.value))

    def __str__(self) -> str:
        """The bound as read in a report."""
        return f"{self.measure} {self.op} {self.value:g}"


class Check(Record):
    """What a check asks, before anything is measured."""

    id: str  # D03
    name: str  # oracle-sampler
    question: str  # one sentence
    procedure: str
    remedy: str
    reference: str


class Finding(Record):
    """What a check found."""

    id: str
    name: str
    question: str
    verdict: Verdict
    measured: dict[str, float]
    threshold: tuple[Bound, ...]
    remedy: str  # empty when nothing is to be done
    reason: str  # which bound broke, or why the check does not apply


def judge(check: Check, measured: Mapping[str, float], bounds: tuple[Bound, ...], *, note: str = "") -> Finding:
    """The finding for what was measured: the worst verdict among the bounds that broke."""
    broken = [bound for bound in bounds if not bound.held(measured[bound.measure])]
    reasons = [
        f"{bound.measure} is {measured[bound.measure]:.4g}, wanted {bound.op} {bound.value:g}" for bound in broken
    ]
    return Finding(
        id=check.id,
        name=check.name,
        question=check.question,
        verdict=_worst(broken),
        measured={name: float(value) for name, value in measured.items()},
        threshold=bounds,
        remedy=check.remedy if broken else "",
        reason="; ".join([*reasons, *filter(None, [note])]),
    )


def not_applicable(check: Check, reason: str) -> Finding:
    """The finding of a check that cannot be made here; it never reads as pass."""
    return Finding(
        id=check.id,
        name=check.name,
        question=check.question,
        verdict="not-applicable",
        measured={},
        threshold=(),
        remedy="",
        reason=reason,
    )


def _worst(broken: list[Bound]) -> Verdict:
    if any(bound.otherwise == "fail" for bound in broken):
        return "fail"
    return "warn" if broken else "pass"
