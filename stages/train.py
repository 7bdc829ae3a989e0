"""train@RUN: a transformer learns from cached latents alone; neither VAE nor text encoder is loaded."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import stages

if TYPE_CHECKING:
    from frostline.params import Params
    from frostline.processes import Team


def main() -> None:
    """Read the index and the caches, write a model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--preflight", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    args = parser.parse_args()

    from frostline import launching, params

    settings = params.load(args.params)
    launch = settings.train.launch
    launching.together(launch, "stages.train", lambda team: train(args, settings, team), output=args.model)


def train(args: argparse.Namespace, settings: "Params", team: "Team") -> None:
    """One training, by all processes of a team."""
    from frostline import contract, engine, revisions, trainings, transformer
    from frostline.checks import report
    from frostline.dataset import Dataset
    from frostline.mirror import Mirror

    run = settings.run(args.run)
    dataset = Dataset(args.index, args.latents, settings.store)
    report.require_passed(args.preflight, dataset.digest)
    meaning = trainings.steered(trainings.teacher_contract(run, dataset.space), dataset.negative_prompt)
    process = trainings.process_of(meaning)
    identity = {
        "contract": meaning.digest,
        "dataset": dataset.digest,
        "params": contract.digest(run),
        "revision": revisions.of("train"),
    }
    work = trainings.work_folder(team, f"train-{args.run}", identity)
    job = engine.Job(
        name=f"train {args.run}",
        network=transformer.create(run.model, dataset.space, seed=run.seed),
        objective=trainings.objective(process),
        dataset=dataset,
        params=run,
        contract=meaning,
        identity=identity,
        work=work,
        mirror=Mirror.of(settings.train.work, work),
        team=team,
    )
    trainings.announce(job)
    outcome = engine.run(job)
    learned_by = trainings.objective_name(process)
    trainings.publish(args.model, job, outcome, stage=f"train@{args.run}", objective=learned_by, base=settings.base)


if __name__ == "__main__":
    stages.run(main)
