"""tune@NAME: a transformer that was trained before goes on from its weights, on cached latents."""

import argparse
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stages

if TYPE_CHECKING:
    from torch import Tensor

    from frostline.contract import Contract, LatentSpace
    from frostline.models import Base, Model
    from frostline.params import Params
    from frostline.params.trainings import AdapterParams, TunedParams
    from frostline.processes import Team


def main() -> None:
    """Read the index, the caches and the start's folder, write a model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--preflight", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    args = parser.parse_args()

    from frostline import launching, params

    settings = params.load(args.params)
    launch, adapted = settings.train.launch, settings.tuning(args.name).adapter is not None
    launching.together(
        launch, "stages.tune", lambda team: tune(args, settings, team), output=args.model, sharded=adapted
    )


def tune(args: argparse.Namespace, settings: "Params", team: "Team") -> None:
    """One training that goes on, by all processes of a team."""
    from frostline import contract, engine, revisions, trainings
    from frostline.checks import report
    from frostline.dataset import Dataset
    from frostline.mirror import Mirror

    run = settings.tuning(args.name)
    dataset = Dataset(args.index, args.latents, settings.store)
    report.require_passed(args.preflight, dataset.digest)
    start = begun(run, dataset.space, team)
    meaning = trainings.tuned_contract(run, dataset.space, start.contract)
    meaning = trainings.steered(meaning, dataset.negative_prompt)
    process = trainings.process_of(meaning)
    identity = {
        "contract": meaning.digest,
        "dataset": dataset.digest,
        "params": contract.digest(run),
        "revision": revisions.of("train"),
        "start": start.training.weights_digest,
    }
    work = trainings.work_folder(team, f"tune-{args.name}", identity)
    job = engine.Job(
        name=f"tune {args.name}",
        network=start.transformer,
        objective=trainings.objective(process),
        dataset=dataset,
        params=run,
        contract=meaning,
        identity=identity,
        work=work,
        mirror=Mirror.of(settings.train.work, work),
        team=team,
        offload=run.adapter is not None and run.adapter.offload,
    )
    trainings.announce(job)
    outcome = engine.run(job)
    trainings.publish(
        args.model,
        job,
        outcome,
        stage=f"tune@{args.name}",
        objective=trainings.objective_name(process),
        base=settings.base,
        start=start.training.weights_digest,
        write=None if run.adapter is None else functools.partial(write, run.adapter, start, meaning),
    )


def begun(run: "TunedParams", space: "LatentSpace", team: "Team") -> "Model":
    """The model that is gone on from: its weights free to move, or frozen with an adapter beside them."""
    from frostline import sharding, starts

    if run.adapter is None:
        return starts.load(run.start, space, run.buckets)

    from frostline import adapters

    computed, float8 = sharding.dtype(run.compute, team), run.adapter.frozen_dtype is not None
    start = starts.frozen(run.start, space, run.buckets, computed, float8=float8)
    adapters.add(start.transformer, run.adapter, seed=run.seed, where=run.start)
    return start


def write(
    adapter: "AdapterParams",
    start: "Model",
    meaning: "Contract",
    folder: Path,
    weights: "dict[str, Tensor]",
    base: "Base",
    training: "Mapping[str, Any]",
) -> None:
    """The adapter, and the start with it merged in."""
    from frostline import adapters, merging

    merging.write_trained(folder, start, adapters.trained(weights, adapter.alpha), meaning, base, training)


if __name__ == "__main__":
    stages.run(main)
