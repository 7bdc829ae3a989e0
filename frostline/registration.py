"""From a model folder and its reports to a version of the registry: what is said of it, and whether it is there."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline import digests, files, models, tracking
from frostline.errors import Refused
from frostline.gates import Evidence
from frostline.params import RegisterParams

METRICS, EVALUATED = "metrics.json", "evaluated.json"  # in the evaluation's folder
PROOF = "proof.tsv"
# File of a model folder to prefix of its metrics; the last is of students alone.
CURVES = {"curve.tsv": "", "validation.tsv": "validation/", PROOF: "proof/"}


def evidence(folder: Path, evaluation: Path, preflight: Path, doctor: Path) -> Evidence:
    """What the gates ask about one model; raises WrongUse for a missing file, Refused for damaged weights."""
    contract, _, training = models.facts(folder)
    judged = files.read_json(evaluation / EVALUATED).get(folder.name)
    checks, said = files.read_json(preflight), files.read_json(doctor)
    examined = said["models"].get(folder.name)
    return Evidence(
        folder=folder,
        training=training,
        contract_digest=contract.digest,
        evaluated_weights=judged["weights_digest"] if judged else None,
        evaluated_contract=judged["contract_digest"] if judged else None,
        preflight=checks["passed"],
        preflight_failed=tuple(checks["failed"]),
        numbers=_numbers(folder, evaluation),
        examined_weights=examined["weights_digest"] if examined else None,
        examined_contract=examined["contract_digest"] if examined else None,
        found=tuple(one["sentence"] for one in (said["caches"], examined) if one and not one["passed"]),
    )


def register(
    folder: Path, params: RegisterParams, evaluation: Path, registry: Path
) -> tuple[tracking.Version, dict[str, Any]]:
    """Put one model into the registry; returns its version and what a report may say: no ids, times or commits."""
    contract, base, training = models.facts(folder)
    tags = {
        "stage": training.stage,
        "contract_digest": contract.digest,
        "data_digest": training.dataset_digest,
        "vae_digest": base.vae_digest,
        "text_encoder_digest": base.text_encoder_digest,
        "weights_digest": training.weights_digest,
        "teacher_digest": training.teacher_digest or "none",
        **({} if training.start_digest is None else {"start_digest": training.start_digest}),
        "evaluation_digest": digests.of_json(_numbers(folder, evaluation)),
    }
    entry = tracking.Entry(
        name=f"{params.prefix}{folder.name}",
        alias=params.alias,
        tags={**tags, "git_commit": tracking.git_commit()},
        params=flat({"contract": contract.model_dump(mode="json"), "training": _settings(training)}),
        metrics={
            f"{bucket}/{name}": value
            for bucket, numbers in _numbers(folder, evaluation).items()
            for name, value in numbers.items()
        },
        curves=_curves(folder),
    )
    version = tracking.register(tracking.open_store(registry), folder, entry)
    return version, {"alias": params.alias, "tags": tags}


def require_registered(report: Path, registry: Path) -> None:
    """Raise Refused unless the registry holds every version that the report of a registration names."""
    for name, facts in files.read_json(report).items():
        weights = facts["tags"]["weights_digest"]
        if weights not in _weights(registry, name):
            raise Refused(
                f"{registry}: holds no {name} with the weights {weights} that {report} names: it was emptied or "
                "replaced; fill it with `dvc repro --force --single-item register`"
            )


def _weights(registry: Path, name: str) -> set[str]:
    """The weights' digests of all versions of a registered model; none where there is no registry."""
    if not tracking.exists(registry):
        return set()
    found = tracking.versions(tracking.existing_store(registry), name)
    return {tracking.tags(version)["weights_digest"] for version in found}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level of text, by dotted key."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value)
    return found


def _settings(training: models.Training) -> dict[str, Any]:
    """The training record without its long table of tensors."""
    return {name: value for name, value in training.stated().items() if name != "tensor_sources"}


def _numbers(folder: Path, evaluation: Path) -> dict[str, dict[str, float]]:
    """The evaluation's numbers of one model, by bucket."""
    everything = files.read_json(evaluation / METRICS)
    return {bucket: _floats(numbers) for bucket, numbers in everything.get(folder.name, {}).items()}


def _floats(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items()}


def _curves(folder: Path) -> dict[str, tuple[tuple[int, float], ...]]:
    """The columns of a model's curves against their first column, the step."""
    found: dict[str, tuple[tuple[int, float], ...]] = {}
    for name, prefix in CURVES.items():
        if name == PROOF and not (folder / name).exists():
            continue
        with (folder / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        for column in [key for key in rows[0] if key != "step"] if rows else []:
            found[f"{prefix}{column}"] = tuple((int(row["step"]), float(row[column])) for row in rows)
    return found
