"""All models of a project, examined beside their caches: the findings that a registration requires.

The caches are looked at once; each model is asked about their rows. Nothing of it says when, where or how fast.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline import models
from frostline.dataset import Dataset
from frostline.doctor import examination, subjects, telling
from frostline.doctor.case import Given, Size
from frostline.doctor.examination import Examined
from frostline.doctor.rows import Cache
from frostline.findings import Finding

LEFT_OUT = ("seconds", "target")  # of what is said: another every time
CACHES = "caches"


def examined(
    folders: Sequence[Path],
    dataset: Dataset,
    *,
    base: Path,
    teachers: Mapping[str, str],
    origin: str,
    device: str = "cpu",
) -> dict[str, Any]:
    """What is found of the caches, and of every model by its name, with the digests of what was examined.

    ``teachers`` are folders by the name of the student. A line is printed of each.
    """
    cache = Cache(origin=origin, space=dataset.space, dataset=dataset)
    whole = Given(subject=None, teacher=None, cache=cache, base=base, size=Size.of(deep=False))
    said: dict[str, Any] = {CACHES: {**_said(origin, whole), "dataset_digest": dataset.digest}, "models": {}}
    for folder in folders:
        contract, _, training = models.facts(folder)
        given = Given(
            subject=subjects.open_(str(folder), device),
            teacher=subjects.open_(teachers[folder.name], device) if folder.name in teachers else None,
            cache=cache,
            base=base,
            size=Size.of(deep=False),
        )
        digests = {"weights_digest": training.weights_digest, "contract_digest": contract.digest}
        said["models"][folder.name] = {**_said(str(folder), given), **digests}
    return said


def _said(name: str, given: Given) -> dict[str, Any]:
    found = examination.examine(given, _nothing, of_cache=given.subject is None)
    print("\n".join([telling.sentence(name, found), *telling.rest(found)]), flush=True)
    return _lasting(telling.facts(name, found), found)


def _lasting(facts: Mapping[str, Any], found: Examined) -> dict[str, Any]:
    """What stays true: without checks that were not made, which say where they were looked for."""
    made = [one for one, known in zip(facts["findings"], found.findings, strict=True) if _was_made(known)]
    return {**{name: value for name, value in facts.items() if name not in LEFT_OUT}, "findings": made}


def _was_made(finding: Finding) -> bool:
    return finding.verdict != "not-applicable"


def _nothing(_finding: Finding) -> None:
    pass
