"""tune@NAME: a transformer that was trained before goes on by flow matching, from its weights, on cached latents."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import stages

if TYPE_CHECKING:
    from frostline.params import Params
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
    launch = settings.train.launch
    launching.together(launch, "stages.tune", lambda team: tune(args, settings, team), output=args.model)


def tune(args: argparse.Namespace, settings: "Params", team: "Team") -> None:
    """One training that goes on, by all processes of a team."""
    from frostline import contract, engine, revisions, starts, trainings
    from frostline.checks import report
    from frostline.dataset import Dataset
    from frostline.objectives import denoising, flow_matching

    run = settings.tuning(args.name)
    dataset = Dataset(args.index, args.latents, settings.store)
    report.require_passed(args.preflight, dataset.digest)
    start = starts.load(run.start, dataset.space, run.buckets)
    meaning = trainings.tuned_contract(run, dataset.space, start.contract)
    meaning = trainings.steered(meaning, dataset.negative_prompt)
    process = trainings.process_of(meaning)
    objective = "flow_matching" if process.prediction == "velocity" else "denoising"
    learning = {"flow_matching": flow_matching, "denoising": denoising}[objective]
    identity = {
        "contract": meaning.digest,
        "dataset": dataset.digest,
        "params": contract.digest(run),
        "revision": revisions.of("train"),
        "start": start.training.weights_digest,
    }
    job = engine.Job(
        name=f"tune {args.name}",
        network=start.transformer,
        objective=learning.objective(process),
        dataset=dataset,
        params=run,
        contract=meaning,
        identity=identity,
        work=trainings.work_folder(team, f"tune-{args.name}", identity),
        team=team,
    )
    trainings.announce(job)
    outcome = engine.run(job)
    trainings.publish(
        args.model,
        job,
        outcome,
        stage=f"tune@{args.name}",
        objective=objective,
        base=settings.base,
        start=start.training.weights_digest,
    )


if __name__ == "__main__":
    stages.run(main)
