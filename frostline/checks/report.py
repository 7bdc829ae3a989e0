"""Findings as a report that a later stage can require."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline import files
from frostline.errors import Refused
from frostline.findings import Finding


def summary(findings: Mapping[str, Sequence[Finding]], dataset_digest: str) -> dict[str, Any]:
    """All findings by what they are about, the verdict of the whole, and the digest of the data they were made on."""
    everything = [finding for group in findings.values() for finding in group]
    failed = sorted({finding.id for finding in everything if finding.verdict == "fail"})
    return {
        "dataset": dataset_digest,
        "passed": not failed,
        "failed": failed,
        "findings": {name: [_rounded(finding) for finding in group] for name, group in findings.items()},
    }


def show(findings: Mapping[str, Sequence[Finding]]) -> None:
    """Print one line per finding."""
    for name, group in findings.items():
        for finding in group:
            print(f"{name}: {finding.id} {finding.name}: {finding.verdict} {finding.reason}".rstrip(), flush=True)


def require(findings: Sequence[Finding], what: str) -> None:
    """Raise Refused, with the remedies, if a finding is a fail."""
    failed = [finding for finding in findings if finding.verdict == "fail"]
    if failed:
        lines = "\n".join(f"  {finding.id} {finding.name}: {finding.reason}. {finding.remedy}" for finding in failed)
        raise Refused(f"{what} failed its checks:\n{lines}")


def require_passed(path: Path, dataset_digest: str) -> None:
    """Raise Refused if the report at ``path`` is not one of a passed preflight of these data."""
    values = files.read_json(path)
    if values["dataset"] != dataset_digest:
        raise Refused(
            f"{path}: a preflight of other data ({values['dataset']}, these are {dataset_digest}); run "
            "`dvc repro preflight`"
        )
    if values["passed"] is not True:
        raise Refused(f"{path}: preflight failed {values['failed']}; see the findings there for the remedies")


def _rounded(finding: Finding) -> dict[str, Any]:
    """A finding with six digits: enough to judge it by, few enough to be the same everywhere."""
    values = finding.model_dump(mode="json")
    values["measured"] = {name: float(f"{value:.6g}") for name, value in finding.measured.items()}
    return values
