"""What the doctor says: a line per finding while it works, and one sentence at the end."""

from collections.abc import Sequence
from typing import Any

from frostline.doctor import catalogue, readings
from frostline.doctor.examination import Examined
from frostline.findings import Finding

MARKS = {"pass": "ok  ", "warn": "warn", "fail": "FAIL", "not-applicable": "-   "}


def line(finding: Finding) -> str:
    """One finding on one line."""
    name = f"{MARKS[finding.verdict]} {finding.id} {finding.name:<20}"
    return f"{name} {finding.reason or _measured(finding)}".rstrip()


def _measured(finding: Finding) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in finding.measured.items())


def sentence(name: str, examined: Examined) -> str:
    """Cause, evidence and remedy in one sentence; what was not told if nothing failed."""
    if examined.crashed:
        broken = ", ".join(examined.crashed)
        after = "" if examined.diagnosis.cause is None else f" {_cause(name, examined)}"
        return f"{name}: the doctor itself failed at {broken}, so nothing is said of that.{after}"
    if examined.diagnosis.cause is None:
        passed = sum(finding.verdict in ("pass", "warn") for finding in examined.findings)
        warned = [finding.id for finding in examined.findings if finding.verdict == "warn"]
        said = f"; worth a look: {', '.join(warned)}" if warned else ""
        return f"{name}: no cause was found in {passed} findings{said}."
    return _cause(name, examined)


def _cause(name: str, examined: Examined) -> str:
    cause = examined.diagnosis.cause or ""
    entry = catalogue.entry(cause)
    return (
        f"{name}: the most probable cause is {cause} {entry.name}: {evidence(examined.findings, cause)}. {entry.remedy}"
    )


def evidence(findings: Sequence[Finding], id_: str) -> str:
    """Why a check failed."""
    return next(finding.reason for finding in findings if finding.id == id_ and finding.verdict == "fail")


def rest(examined: Examined) -> list[str]:
    """Symptoms, and second causes with theirs."""
    diagnosis = examined.diagnosis
    lines = []
    if diagnosis.symptoms:
        lines.append(f"  its symptoms: {_named(diagnosis.symptoms)}")
    for id_ in diagnosis.others:
        entry = catalogue.entry(id_)
        lines.append(f"  a second cause: {id_} {entry.name}: {evidence(examined.findings, id_)}. {entry.remedy}")
    if diagnosis.of_others:
        lines.append(f"  symptoms of the second: {_named(diagnosis.of_others)}")
    return lines


def untold(examined: Examined) -> list[str]:
    """What could not be judged, by reason; checks that only tests make are left out."""
    judged = {finding.id for finding in examined.findings if finding.verdict != "not-applicable"}
    reasons: dict[str, list[str]] = {}
    for finding in examined.findings:
        if catalogue.entry(finding.id).when != "test" and finding.id not in judged:
            reasons.setdefault(finding.reason, []).append(finding.id)
    return [f"  not judged, {reason}: {_named(sorted(set(ids)))}" for reason, ids in reasons.items()]


def _named(ids: Sequence[str]) -> str:
    return ", ".join(f"{id_} {catalogue.entry(id_).name}" for id_ in ids)


def facts(name: str, examined: Examined) -> dict[str, Any]:
    """The outcome as JSON; numbers with six digits."""
    diagnosis = examined.diagnosis
    return {
        "target": name,
        "passed": not examined.failed,
        "cause": diagnosis.cause,
        "symptoms": list(diagnosis.symptoms),
        "second_causes": list(diagnosis.others),
        "symptoms_of_second_causes": list(diagnosis.of_others),
        "crashed": list(examined.crashed),
        "sentence": sentence(name, examined),
        "seconds": round(examined.seconds, 1),
        "predicts": _predicts(examined),
        "findings": [_rounded(finding) for finding in examined.findings],
    }


def _predicts(examined: Examined) -> dict[str, Any] | None:
    scored = examined.seen.scored
    if not scored or scored[0].ratio >= readings.LEARNED:
        return None
    first, other = scored[0], next(one for one in scored if one.reading.kind != scored[0].reading.kind)
    return {
        "reading": str(first.reading),
        "next": str(other.reading),
        "margin": float(f"{other.ratio / first.ratio:.6g}"),
    }


def _rounded(finding: Finding) -> dict[str, Any]:
    values = finding.model_dump(mode="json")
    values["measured"] = {
        name: float(f"{value:.6g}") if abs(value) < float("inf") else str(value)
        for name, value in finding.measured.items()
    }
    return values
