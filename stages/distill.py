"""distill@STUDENT: a student learns what its guided teacher does, from the teacher's own layers."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import stages

if TYPE_CHECKING:
    from frostline.params import Params
    from frostline.processes import Team


def main() -> None:
    """Read a dataset and the teacher's folder, write a model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="latents, or trajectories of the teacher")
    parser.add_argument("--preflight", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    args = parser.parse_args()

    from frostline import launching, params

    settings = params.load(args.params)
    launch = settings.train.launch
    launching.together(launch, "stages.distill", lambda team: distill(args, settings, team), output=args.model)


def distill(args: argparse.Namespace, settings: "Params", team: "Team") -> None:
    """One distillation, by all processes of a team."""
    from frostline import contract, engine, learning, revisions, students, teachers, trainings
    from frostline.checks import of_training, report
    from frostline.dataset import Dataset
    from frostline.mirror import Mirror

    student = settings.student(args.student)
    dataset = Dataset(args.index, args.data, settings.store)
    report.require_passed(args.preflight, dataset.origin)
    report.require(of_training.findings(dataset, student), f"distill {args.student}")
    teacher = teachers.load(student.teacher)
    students.require_teacher(teacher, dataset.space)
    students.require_experts(teacher, student)
    students.require_rows(student, dataset, teacher)
    meaning = students.contract(student, dataset, teacher)
    network, sources = students.begun(teacher, student)
    identity = {
        "contract": meaning.digest,
        "dataset": dataset.digest,
        "params": contract.digest(student),
        "revision": revisions.of("distill"),
    }
    learned = learning.of(student, network, trainings.process_of(meaning), dataset, teacher, team)
    work = trainings.work_folder(team, f"distill-{args.student}", identity)
    job = engine.Job(
        name=f"distill {args.student}",
        network=network,
        objective=learned.objective,
        dataset=dataset,
        params=student,
        contract=meaning,
        identity=identity,
        work=work,
        mirror=Mirror.of(settings.train.work, work),
        team=team,
        drawn=learned.times,
        companions=learned.companions,
        proof=learned.proof,
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
