"""distill@STUDENT: a student learns its teacher's guided velocity on cached latents, from the teacher's own layers."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import stages

if TYPE_CHECKING:
    from frostline.params import Params
    from frostline.processes import Team


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

    from frostline import launching, params

    settings = params.load(args.params)
    launch = settings.train.launch
    launching.together(launch, "stages.distill", lambda team: distill(args, settings, team), output=args.model)


def distill(args: argparse.Namespace, settings: "Params", team: "Team") -> None:
    """One distillation, by all processes of a team."""
    from frostline import contract, engine, revisions, sharding, teachers, trainings
    from frostline.checks import of_training, report
    from frostline.dataset import Dataset
    from frostline.objectives import velocity_matching

    student = settings.student(args.student)
    dataset = Dataset(args.index, args.latents, settings.store)
    report.require_passed(args.preflight, dataset.digest)
    report.require(of_training.findings(dataset, student), f"distill {args.student}")
    teacher = teachers.load(student.teacher)
    trainings.require_teacher(teacher, dataset.space)
    trainings.require_experts(teacher, student)
    meaning = trainings.student_contract(student, dataset.space, teacher)
    meaning = trainings.steered(meaning, dataset.negative_prompt)
    network, sources = trainings.begun(teacher, student)
    of_teacher = student.compute.model_copy(update={"recompute": False})  # nothing goes back through it
    identity = {
        "contract": meaning.digest,
        "dataset": dataset.digest,
        "params": contract.digest(student),
        "revision": revisions.of("distill"),
    }
    for one in teacher.networks:
        sharding.place(one.requires_grad_(False), of_teacher, team)
    job = engine.Job(
        name=f"distill {args.student}",
        network=network,
        objective=velocity_matching.objective(
            trainings.process_of(meaning),
            teacher=teacher.transformer,
            null=dataset.negative().to(team.device),
            scale=student.scales[0],
            interval=student.guidance_interval,
            low=teacher.second(student.scales[-1]),
            agreed=team.any,
        ),
        dataset=dataset,
        params=student,
        contract=meaning,
        identity=identity,
        work=trainings.work_folder(team, f"distill-{args.student}", identity),
        team=team,
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
