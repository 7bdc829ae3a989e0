"""trajectories@NAME: a teacher makes latents of noise, and the points it comes through are kept for students."""

import argparse
from pathlib import Path

import stages


def main() -> None:
    """Read the index, the caches and the teacher's folder, write a dataset of trajectories and its index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--preflight", type=Path, required=True)
    parser.add_argument("--trajectories", type=Path, required=True, help="folder to write; its index lies beside it")
    args = parser.parse_args()

    import torch

    from frostline import digests, params, processes, revisions, students, teachers, trajectories, workspace
    from frostline.checks import report
    from frostline.dataset import Dataset

    settings = params.load(args.params)
    wanted = settings.followed(args.name)
    device = processes.device(wanted.device, f"trajectories.{args.name}.device")
    torch.set_num_threads(wanted.threads)
    dataset = Dataset(args.index, args.latents, settings.store)
    report.require_passed(args.preflight, dataset.digest)
    teacher = teachers.load(wanted.teacher)
    students.require_teacher(teacher, dataset.space)
    students.require_scales(teacher, wanted.scales, f"trajectories.{args.name}")
    told = trajectories.facts(wanted, teacher, dataset)
    identity = {
        "trajectories": told.model_dump(mode="json"),
        "params": wanted.model_dump(mode="json"),
        "revision": revisions.of("trajectories"),
    }
    with workspace.lock(args.trajectories):
        work = workspace.work_folder(f"trajectories-{args.name}", digests.of_json(identity))
        found = list(trajectories.parts(wanted, teacher, dataset))
        trajectories.Maker(wanted, teacher, dataset, device).make(found, work)
        trajectories.publish(args.trajectories, told, found, dataset, work)
    for part in found:
        print(f"{args.name}: {len(part.numbers)} rows of {part.bucket}/{part.split}")


if __name__ == "__main__":
    stages.run(main)
