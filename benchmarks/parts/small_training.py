"""Trainings of the project's own teacher, or of a smaller one, on a cache of made-up rows."""

import os
from pathlib import Path
from typing import Any

import yaml

from benchmarks.parts import synthetic_cache
from benchmarks.parts.synthetic_cache import Kind
from frostline import records, trainings, transformer
from frostline.dataset import Dataset
from frostline.job import Job
from frostline.objectives import flow_matching
from frostline.params.trainings import TrainParams
from frostline.store import layout

ROWS = Kind(bucket=(1, 32, 32), tokens=8, text_dim=64, text_length=12)  # images as those of the miniature
TINY = {"layers": 1, "heads": 1, "head_dim": 12, "ffn_dim": 24, "patch_size": [1, 1, 1]}


def params(kind: Kind, *, batch: int, steps: int, **changed: Any) -> dict[str, Any]:
    """The teacher of params.yaml on one bucket, as params.yaml would say it: on one thread, validated at the end."""
    teacher = yaml.safe_load(Path("params.yaml").read_text())["train"]["runs"]["teacher"]
    own = {
        "buckets": {layout.bucket_name(kind.bucket): {"share": 1.0, "batch": batch}},
        "steps": steps,
        "threads": 1,
        "validate_every": {"steps": steps},
        "checkpoint_every": steps + 1,
        "sampling": {"sampler": "euler", "steps": 2, "shift": 3.0, "guidance": 1.0},
    }
    return {**teacher, **own, **changed}


def data(folder: Path, kind: Kind, rows: int) -> tuple[Path, Path]:
    """Index and folder of a cache of so many rows."""
    return synthetic_cache.make(folder, kind, rows=rows, part=rows)


def job(work: Path, dataset: Dataset, values: dict[str, Any]) -> Job:
    """A training by flow matching, as the stage makes it."""
    settings = records.parse(TrainParams, values, origin="benchmarks")
    meaning = trainings.teacher_contract(settings, dataset.space)
    work.mkdir(parents=True)
    return Job(
        name=f"{work.name} of {os.getpid()}",
        network=transformer.create(settings.model, dataset.space, seed=settings.seed),
        objective=flow_matching.objective(trainings.process_of(meaning)),
        dataset=dataset,
        params=settings,
        contract=meaning,
        identity={},
        work=work,
    )
