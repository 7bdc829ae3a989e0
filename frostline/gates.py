"""What must be true of a model before it is registered; each gate has a name, and a failed one names itself."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from frostline.errors import Refused
from frostline.models import Training
from frostline.params import GateParams
from frostline.records import Record

PASSED = "passed"


class Evidence(Record):
    """What is known of one model."""

    folder: Path
    training: Training
    contract_digest: str
    evaluated_weights: str | None  # digest of the weights that were judged; None: none were
    evaluated_contract: str | None
    preflight: bool  # passed
    preflight_failed: tuple[str, ...]
    numbers: dict[str, dict[str, float]]  # by bucket and metric
    examined_weights: str | None  # digest of the weights that the doctor examined; None: none were
    examined_contract: str | None
    found: tuple[str, ...]  # what the doctor found wrong with them or with the caches, a sentence each


class Verdict(Record):
    """What one gate says: passed, failed with its reason and remedy, or not applicable with the reason."""

    gate: str
    failed: bool
    says: str


def judge(evidence: Evidence, params: GateParams) -> list[Verdict]:
    """The verdicts of all gates, in order."""
    return [gate(evidence, params) for gate in GATES]


def require(verdicts: Mapping[Path, Sequence[Verdict]]) -> None:
    """Raise Refused, naming every failed gate of every model, if there is one."""
    failed = [(folder, verdict) for folder, found in verdicts.items() for verdict in found if verdict.failed]
    if failed:
        lines = "\n".join(f"  {folder}: gate '{verdict.gate}' failed: {verdict.says}" for folder, verdict in failed)
        raise Refused(f"nothing was registered:\n{lines}")


def complete(evidence: Evidence, _params: GateParams, /) -> Verdict:
    """All planned steps were done."""
    done, planned = evidence.training.steps_done, evidence.training.steps_planned
    if evidence.training.complete:
        return _passed("complete")
    return _failed("complete", f"{done} of {planned} steps done: it is unfinished, not wrong; train it to the end")


def evaluated(evidence: Evidence, _params: GateParams, /) -> Verdict:
    """The weights and the contract that were judged are the ones to be registered."""
    pairs = (
        ("weights", evidence.evaluated_weights, evidence.training.weights_digest),
        ("contract", evidence.evaluated_contract, evidence.contract_digest),
    )
    differing = [f"{what} {theirs} judged, {ours} here" for what, theirs, ours in pairs if theirs != ours]
    if not differing and not evidence.numbers:
        return _failed("evaluated", "it was judged in no bucket: name one of its buckets in evaluate.samples")
    if not differing:
        return _passed("evaluated")
    return _failed("evaluated", f"{'; '.join(differing)}: run `dvc repro evaluate`")


def diagnosed(evidence: Evidence, _params: GateParams, /) -> Verdict:
    """The doctor examined exactly these weights under this contract, and found nothing wrong."""
    pairs = (
        ("weights", evidence.examined_weights, evidence.training.weights_digest),
        ("contract", evidence.examined_contract, evidence.contract_digest),
    )
    differing = [f"{what} {theirs} examined, {ours} here" for what, theirs, ours in pairs if theirs != ours]
    if differing:
        return _failed("diagnosed", f"{'; '.join(differing)}: run `dvc repro diagnose`")
    return _failed("diagnosed", " ".join(evidence.found)) if evidence.found else _passed("diagnosed")


def preflight(evidence: Evidence, _params: GateParams, /) -> Verdict:
    """What must hold before training held."""
    if evidence.preflight:
        return _passed("preflight")
    failed = ", ".join(evidence.preflight_failed)
    return _failed("preflight", f"preflight failed {failed}: see its report for the remedies, then `dvc repro`")


def accuracy(evidence: Evidence, params: GateParams, /) -> Verdict:
    """Samples show what was asked for."""
    return _at_least("accuracy", params.minimum_accuracy, evidence)


def direction(evidence: Evidence, params: GateParams, /) -> Verdict:
    """Clips move the way that was asked for."""
    return _at_least("direction", params.minimum_direction, evidence)


GATES: tuple[Callable[[Evidence, GateParams], Verdict], ...] = (
    complete,
    evaluated,
    preflight,
    diagnosed,
    accuracy,
    direction,
)


def _at_least(metric: str, minimum: float, evidence: Evidence) -> Verdict:
    judged = {bucket: numbers[metric] for bucket, numbers in evidence.numbers.items() if metric in numbers}
    if not judged:
        return Verdict(gate=metric, failed=False, says=f"not applicable: the evaluation measured no {metric}")
    short = [f"{value:g} of {bucket}" for bucket, value in judged.items() if not value >= minimum]
    if not short:
        return _passed(metric)
    return _failed(metric, f"{metric} {', '.join(short)} is below register.gates.minimum_{metric} = {minimum:g}")


def _passed(gate: str) -> Verdict:
    return Verdict(gate=gate, failed=False, says=PASSED)


def _failed(gate: str, reason: str) -> Verdict:
    return Verdict(gate=gate, failed=True, says=reason)
