"""One of several processes that train one model, as a program: `python -m benchmarks.parts.member ORDER.json`.

The order names a cache, a training as params.yaml would say it, and the processes; started once, it starts the others.
The one that leads leaves the weights, and the rows of every step in the order of their places.
"""

import json
import sys
from pathlib import Path
from typing import Any

from frostline import workspace

workspace.settle()

from frostline import (  # noqa: E402 - instruction set first
    engine,
    files,
    launching,
    models,
    processes,
    records,
    sharding,
    trainings,
    transformer,
)
from frostline.batches import Batches, Share  # noqa: E402
from frostline.dataset import Dataset  # noqa: E402
from frostline.errors import FrostlineError  # noqa: E402
from frostline.job import Job  # noqa: E402
from frostline.objectives import flow_matching  # noqa: E402
from frostline.params.trainings import LaunchParams, TrainParams  # noqa: E402

WEIGHTS, ROWS = "weights.safetensors", "rows.json"


def main() -> None:
    """Train, alone or with others."""
    order = files.read_json(sys.argv[1])
    launch = records.parse(LaunchParams, order["launch"], origin=sys.argv[1])
    launching.together(launch, "benchmarks.parts.member", lambda team: _train(order, team))


def _train(order: dict[str, Any], team: processes.Team) -> None:
    params = records.parse(TrainParams, order["params"], origin=sys.argv[1])
    dataset, work = Dataset(order["index"], order["latents"]), Path(order["work"])
    meaning = trainings.teacher_contract(params, dataset.space)
    team.first(lambda: work.mkdir(parents=True, exist_ok=True))
    job = Job(
        name="member",
        network=transformer.create(params.model, dataset.space, seed=params.seed),
        objective=flow_matching.objective(trainings.process_of(meaning)),
        dataset=dataset,
        params=params,
        contract=meaning,
        identity={},
        work=work,
        team=team,
    )
    outcome = engine.run(job)
    own = Share(rank=team.rank, world=team.world)
    batches = Batches(dataset, buckets=job.buckets, steps=params.steps, dropout=0.0, seed=params.seed)
    rows = [[draw.row for draw in batches.draws(step, own)] for step in range(params.steps)]
    files.write_json(work / f"{team.rank}-{ROWS}", rows)
    weights = sharding.gathered(outcome.network, leads=team.leads)
    if team.leads:
        models.write_weights(work / WEIGHTS, weights, meaning)
        print(json.dumps({"maturity": outcome.maturity, "skipped": outcome.progress.skipped}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except FrostlineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
