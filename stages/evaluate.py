"""evaluate: teacher and students draw the same prompts from the same noise, for numbers, pictures and one page."""

import argparse
from pathlib import Path

import stages


def main() -> None:
    """Read models, base and the held-out split, write the report's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of model folders")
    parser.add_argument("--manifests", type=Path, required=True)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--reports", type=Path, required=True)
    args = parser.parse_args()

    import torch

    from frostline import codec as codecs
    from frostline import evaluation, files, models, params, processes, report, workspace
    from frostline.generation import Generator

    settings = params.load(args.params)
    torch.set_num_threads(settings.evaluate.threads)
    plan = evaluation.plan(settings.evaluate)
    device = processes.device(settings.evaluate.device, "evaluate.device")
    codec = codecs.of_params(settings, device, offload=settings.evaluate.offload)
    judge = evaluation.find_judge(Path(settings.base))
    folders = settings.models(args.models)
    loaded = [models.load(folder) for folder in folders]
    found = {folder.name: folder / "curve.tsv" for folder in folders}  # a pretrained model has none
    curves = {name: path.read_text("utf-8") for name, path in found.items() if path.exists()}
    generators = [Generator(model, codec) for model in loaded]
    held_out = evaluation.held_out(settings.sources, args.manifests, list(plan.samples))
    missing = evaluation.missing(loaded, held_out, judge, settings.base)
    for sentence in missing:
        print(f"evaluate: {sentence}", flush=True)

    evaluated = evaluation.evaluate(loaded, generators, held_out, judge, plan)
    real = {one.bucket: evaluation.real_numbers(one, judge) for one in held_out}
    page = report.compose(evaluated, held_out, real, report.read_curves(curves), missing)

    with workspace.lock(args.reports):
        with files.new_folder(args.reports / "pictures") as folder:
            report.write_pictures(folder, evaluated)
        with files.new_folder(args.reports / "plots") as folder:
            report.write_plots(folder, evaluated)
            for name, table in curves.items():
                files.write_text(folder / "loss" / f"{name}.tsv", table)
        files.write_json(args.reports / "metrics.json", evaluation.summary(evaluated))
        files.write_json(args.reports / "evaluated.json", evaluation.identities(evaluated))
        files.write_text(args.reports / "index.html", report.render(page))
    for line in evaluation.lines(evaluated):
        print(line)


if __name__ == "__main__":
    stages.run(main)
