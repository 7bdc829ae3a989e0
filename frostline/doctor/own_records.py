"""What a model's files say of themselves: weights, their digest, their sources, how the training ended (D14, D15, D23,
D26).
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from frostline import files, findings, vitals
from frostline.doctor import catalogue
from frostline.findings import Bound, Finding
from frostline.models import Training
from frostline.wan.loading import Audit

WHILE = "while it was trained"
STATES = "step-*/state.json"  # of checkpoints
SHOWN = 4  # names in a reason
NONE = tuple(
    Bound(measure=name, op="==", value=0.0)
    for name in ("missing", "unexpected", "mismatched", "not_finite", "heads_of_zeros")
)
SAME = Bound(measure="same_digest", op="==", value=1.0)
WARM = Bound(measure="share_of_start", op="<", value=0.05)
VALIDATED = Bound(measure="loss_over_validated", op="<", value=1.25)
FINISHED = Bound(measure="share_done", op=">=", value=1.0)
LEVEL = Bound(measure="late_fall", op="<", value=0.2, otherwise="warn")  # short trainings: to 0.18
FROM_SOURCE = (Bound(measure="nearest_to_source", op=">=", value=0.9, otherwise="warn"),)


def while_training(folder: Path) -> list[Finding]:
    """D10, D18, D21, D24, D25, D29, D35: what was measured while a model was trained, judged anew."""
    found = vitals.read(folder / vitals.FILE)
    return [one.model_copy(update={"reason": "; ".join(filter(None, [one.reason, WHILE]))}) for one in found]


def is_run(folder: Path) -> bool:
    """Whether a folder is the work folder of a training, with a checkpoint."""
    return any(folder.glob(STATES))


def of_run(folder: Path) -> list[Finding]:
    """What the newest checkpoint of a training says of it: its checks, judged anew, and how its loss falls (D26)."""
    state = files.read_json(max(folder.glob(STATES)))
    losses = [point["loss"] for point in state["curve"]]
    note = f"{state['step']} steps so far"
    found = [one.model_copy(update={"reason": one.reason or note}) for one in vitals.findings(state.get("checks", {}))]
    if len(losses) < 20:
        return [*found, findings.not_applicable(catalogue.about("D26"), f"{note}, too few points of a curve")]
    return [*found, findings.judge(catalogue.about("D26"), {"late_fall": late_fall(losses)}, (LEVEL,), note=note)]


def load_audit(audits: Iterable[Audit], networks: Sequence[nn.Module]) -> Finding:
    """D14: judge files against modules, and the values in them."""
    every = list(audits)
    found = {
        "missing": [name for audit in every for name in audit.missing],
        "unexpected": [name for audit in every for name in audit.unexpected],
        "mismatched": [name for audit in every for name in audit.mismatched],
    }
    tensors = [pair for network in networks for pair in network.named_parameters()]
    found["not_finite"] = [name for name, tensor in tensors if not bool(torch.isfinite(tensor).all())]
    found["heads_of_zeros"] = [
        name for name, tensor in tensors if name.endswith("proj_out.weight") and not bool(tensor.any())
    ]
    shown = [f"{kind}: {', '.join(names[:SHOWN])}" for kind, names in found.items() if names]
    measured = {kind: float(len(names)) for kind, names in found.items()}
    return findings.judge(catalogue.about("D14"), measured, NONE, note="; ".join(shown))


def same_weights(training: Training, digest: str | None, loss: float | None, validated: float | None) -> Finding:
    """D23: judge weights by their record, the decay of their average, and the loss that was validated last.

    ``loss`` is that of held-out rows now, ``validated`` the one the training wrote; None where there is none.
    """
    measured: dict[str, float] = {}
    bounds: list[Bound] = []
    if digest is not None:
        measured["same_digest"] = float(digest == training.weights_digest)
        bounds.append(SAME)
    if training.steps_done and 0 < training.ema_decay < 1:
        measured["share_of_start"] = training.ema_decay**training.steps_done
        bounds.append(WARM)
    if loss is not None and validated is not None:
        measured["loss_over_validated"] = loss / validated
        bounds.append(VALIDATED)
    if not measured:
        return findings.not_applicable(catalogue.about("D23"), "no record says which weights were evaluated")
    return findings.judge(catalogue.about("D23"), measured, tuple(bounds))


def finished(training: Training, losses: Sequence[float]) -> Finding:
    """D26: judge steps done by those planned, and the fall of the training loss over its last fifth."""
    if not training.steps_planned:
        return findings.not_applicable(catalogue.about("D26"), "it was published, and how it was trained is not known")
    measured = {"share_done": training.steps_done / training.steps_planned}
    if len(losses) < 20:
        return findings.judge(catalogue.about("D26"), measured, (FINISHED,), note=_done(training))
    measured["late_fall"] = late_fall(losses)
    return findings.judge(catalogue.about("D26"), measured, (FINISHED, LEVEL), note=_done(training))


def _done(training: Training) -> str:
    return f"{training.steps_done} of {training.steps_planned} steps"


def late_fall(losses: Sequence[float]) -> float:
    """By which share a loss fell over the last fifth: from its first half to its second, doubled."""
    last = losses[-max(4, len(losses) // 5) :]
    half = len(last) // 2
    before, after = (sum(part) / len(part) for part in (last[:half], last[half:]))
    return 2 * (before - after) / before if before > 0 else 0.0


def sources(sources: Mapping[str, str], student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Finding:
    """D15: judge whether matrices of blocks are nearest to the teacher's tensor they are recorded to come from."""
    near = [
        _is_nearest(student[name], source, name, teacher)
        for name, source in sources.items()
        if name.startswith("blocks.") and name in student and source in teacher and student[name].ndim == 2
    ]
    if not near:
        return findings.not_applicable(catalogue.about("D15"), "no record says where its tensors came from")
    return findings.judge(catalogue.about("D15"), {"nearest_to_source": sum(near) / len(near)}, FROM_SOURCE)


def _is_nearest(own: Tensor, source: str, name: str, teacher: Mapping[str, Tensor]) -> bool:
    """Whether of a teacher's tensors of this place in any block the recorded one is nearest."""
    ending = name.split(".", 2)[2]
    others = {
        other: _cosine(own, tensor)
        for other, tensor in teacher.items()
        if other.startswith("blocks.") and other.split(".", 2)[2] == ending and tensor.shape == own.shape
    }
    return source in others and others[source] >= max(others.values())


def _cosine(one: Tensor, other: Tensor) -> float:
    a, b = one.double().flatten(), other.double().flatten()
    return float(a @ b / (a.norm() * b.norm()).clamp_min(1e-30))


def curve(path: Path, column: str) -> list[float]:
    """A column of a training's table, without what is no number; none if there is no such table."""
    if not path.is_file():
        return []
    rows = csv.DictReader(path.read_text().splitlines(), delimiter="\t")
    found = [float(row[column]) for row in rows if row.get(column)]
    return [value for value in found if math.isfinite(value)]


def last_by_sigma(path: Path, looks: int = 3) -> dict[float, float]:
    """The losses a training recorded last, by the middle of their bin of sigma: means of the last looks."""
    if not path.is_file():
        return {}
    rows = list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))[-looks:]
    found: dict[float, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and value:
                low, high = map(float, name.split("-"))
                found.setdefault(round((low + high) / 2, 4), []).append(float(value))
    return {middle: sum(values) / len(values) for middle, values in found.items()}
