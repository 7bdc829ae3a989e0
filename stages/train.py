"""train@RUN: a transformer learns by flow matching on cached latents; neither VAE nor text encoder is loaded."""

import argparse
from pathlib import Path

import stages


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

    from frostline import contract, digests, engine, params, revisions, trainings, transformer, workspace
    from frostline.checks import report
    from frostline.dataset import Dataset
    from frostline.objectives import flow_matching

    settings = params.load(args.params)
    run = settings.run(args.run)
    dataset = Dataset(args.index, args.latents, settings.store)
    report.require_passed(args.preflight, dataset.digest)
    meaning = trainings.teacher_contract(run, dataset.space)
    identity = {
        "contract": meaning.digest,
        "dataset": dataset.digest,
        "params": contract.digest(run),
        "revision": revisions.of("train"),
    }
    with workspace.lock(args.model):
        job = engine.Job(
            name=f"train {args.run}",
            network=transformer.create(run.model, dataset.space, seed=run.seed),
            objective=flow_matching.objective(trainings.process_of(meaning)),
            dataset=dataset,
            params=run,
            contract=meaning,
            identity=identity,
            work=workspace.work_folder(f"train-{args.run}", digests.of_json(identity)),
        )
        trainings.announce(job)
        outcome = engine.run(job)
        trainings.publish(
            args.model, job, outcome, stage=f"train@{args.run}", objective="flow_matching", base=settings.base
        )


if __name__ == "__main__":
    stages.run(main)
