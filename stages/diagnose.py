"""diagnose: what `frostline doctor` says of the caches and of every model, for `register` to require."""

import argparse
from pathlib import Path

import stages


def main() -> None:
    """Read the index, the caches, models and base, write what was found of exactly these."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--models", type=Path, required=True, help="folder of model folders")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    args = parser.parse_args()

    import torch

    from frostline import files, params, processes, workspace
    from frostline.dataset import Dataset
    from frostline.doctor import of_models

    settings = params.load(args.params)
    torch.set_num_threads(settings.evaluate.threads)
    device = processes.device(settings.evaluate.device, "evaluate.device")
    dataset = Dataset(args.index, args.latents, settings.store)
    with workspace.lock(args.report):
        said = of_models.examined(
            settings.models(args.models),
            dataset,
            base=Path(settings.base),
            teachers={name: student.teacher for name, student in settings.students.items()},
            origin=str(args.latents),
            device=device,
        )
        files.write_json(args.report, said)


if __name__ == "__main__":
    stages.run(main)
