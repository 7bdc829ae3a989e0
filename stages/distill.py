"""distill@STUDENT: a student learns its teacher's guided velocity on cached latents, from the teacher's own layers."""

import argparse
from pathlib import Path

import stages


def main() -> None:
    """Read the index, the caches and the teacher's folder, write a model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--preflight", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    args = parser.parse_args()

    from frostline import contract, digests, engine, models, params, revisions, trainings, transformer, workspace
    from frostline.checks import of_training, report
    from frostline.dataset import Dataset
    from frostline.objectives import velocity_matching

    settings = params.load(args.params)
    student = settings.student(args.student)
    dataset = Dataset(args.index, args.latents, settings.store)
    report.require_passed(args.preflight, dataset.digest)
    report.require(of_training.findings(dataset, student), f"distill {args.student}")
    teacher = models.load(student.teacher)
    trainings.require_teacher(teacher, dataset.space)
    meaning = trainings.student_contract(student, dataset.space, teacher)
    network, sources = transformer.from_layers(teacher.transformer, student.layers)
    identity = {
        "contract": meaning.digest,
        "dataset": dataset.digest,
        "params": contract.digest(student),
        "revision": revisions.of("distill"),
    }
    with workspace.lock(args.model):
        job = engine.Job(
            name=f"distill {args.student}",
            network=network,
            objective=velocity_matching.objective(
                trainings.process_of(meaning),
                teacher=teacher.transformer.requires_grad_(False),
                null=dataset.null(),
                scale=student.guidance,
                interval=student.guidance_interval,
            ),
            dataset=dataset,
            params=student,
            contract=meaning,
            identity=identity,
            work=workspace.work_folder(f"distill-{args.student}", digests.of_json(identity)),
        )
        trainings.announce(job)
        outcome = engine.run(job)
        trainings.publish(
            args.model,
            job,
            outcome,
            stage=f"distill@{args.student}",
            objective=student.objective,
            base=settings.base,
            sources=sources,
        )


if __name__ == "__main__":
    stages.run(main)
