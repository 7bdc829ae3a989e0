"""Numbers, contracts and lineage, a column per model."""

from collections.abc import Mapping, Sequence
from typing import Any

from frostline.evaluation import Bucket, Evaluated, Numbers
from frostline.pages import words
from frostline.pages.parts import Line, Table
from frostline.records import Record
from frostline.report.measures import MEASURES, REAL


def numbers(evaluated: Sequence[Evaluated], bucket: Bucket, real: Numbers) -> Table:
    """The measures of one bucket."""
    judged = [one for one in evaluated if bucket in one.numbers]
    columns = [*(one.numbers[bucket] for one in judged), real]
    names = [name for name in MEASURES if any(name in column for column in columns)]
    return Table(
        title=f"Numbers: {words.of_bucket(bucket)}",
        note="± is one standard error. No number judges alone: broken samplers can reach high accuracy.",
        header=["", *(one.name for one in judged), REAL, "what it says"],
        rows=[Line(MEASURES[n][0], [_value(c, n) for c in columns], MEASURES[n][1], differs=False) for n in names],
        kind="number",
    )


def _value(numbers: Numbers, name: str) -> str:
    if name not in numbers:
        return "–"
    if f"{name}_error" in numbers:
        return f"{numbers[name]:.1%} ± {numbers[f'{name}_error']:.1%}"
    return f"{int(numbers[name])}" if name == "n" else f"{numbers[name]:.3f}"


def contracts(evaluated: Sequence[Evaluated]) -> Table:
    """The contracts, field by field."""
    fields = [_flat(one.model.contract) for one in evaluated]
    return Table(
        title="Contracts",
        note="What each model is built from and sampled by. Fields in which the models differ stand out.",
        header=["field", *(one.name for one in evaluated)],
        rows=_lines(fields),
        kind="digest",
    )


def lineage(evaluated: Sequence[Evaluated]) -> Table:
    """Which bytes each model was made of."""
    fields = [_made_of(one) for one in evaluated]
    return Table(
        title="Lineage",
        note="Digests name the exact bytes: two models with one dataset digest were trained on the same latents.",
        header=["", *(one.name for one in evaluated)],
        rows=_lines(fields, mark=False),
        kind="digest",
    )


def _made_of(one: Evaluated) -> dict[str, str]:
    training, base = one.model.training, one.model.base
    return {
        "weights": training.weights_digest,
        "contract": one.model.contract.digest,
        "dataset": training.dataset_digest,
        "VAE": base.vae_digest,
        "text encoder": base.text_encoder_digest,
        "teacher's weights": training.teacher_digest or "none: it is a teacher",
        "steps": f"{training.steps_done} of {training.steps_planned}",
        **({} if training.start_digest is None else {"went on from the weights": training.start_digest}),
    }


def _lines(fields: Sequence[Mapping[str, str]], *, mark: bool = True) -> list[Line]:
    names = dict.fromkeys(name for column in fields for name in column)
    cells = {name: [column.get(name, "–") for column in fields] for name in names}
    return [Line(name, values, "", differs=mark and len(set(values)) > 1) for name, values in cells.items()]


def _flat(record: Record, prefix: str = "") -> dict[str, str]:
    """A nested record's fields by dotted name, in words."""
    found: dict[str, str] = {}
    stated = record.model_dump().keys()
    for name, value in record:
        if name not in stated:
            continue
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Record) else {f"{prefix}{name}": _plain(value)}
    return found


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)
