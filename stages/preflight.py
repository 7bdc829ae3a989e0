"""preflight: what must hold before an hour of training is spent; fails, with the remedies, if something does not."""

import argparse
from pathlib import Path

import stages


def main() -> None:
    """Read manifests, caches, base and params, write the findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--manifests", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    args = parser.parse_args()

    import torch

    from frostline import codec as codecs
    from frostline import files, manifest, params, processes
    from frostline.checks import of_data, of_training, report
    from frostline.dataset import Dataset
    from frostline.sources import reading

    settings = params.load(args.params)
    dataset = Dataset(args.index, args.latents, settings.store)
    codec = codecs.of_params(settings, processes.device("auto", "preflight"))
    torch.set_num_threads(settings.cache.threads)  # what is encoded again is encoded as the cache was
    findings = {}
    for name, source in settings.sources.items():
        rows = manifest.read(args.manifests / name)
        findings[f"source {name}"] = of_data.findings(
            dataset, codec, rows, lambda row, source=source: reading.pixels(source, row), settings
        )
    for name, run in settings.train.runs.items():
        findings[f"train {name}"] = of_training.findings(dataset, run)
    for name, run in settings.tuned.items():
        findings[f"tune {name}"] = of_training.findings(dataset, run)
    report.show(findings)
    files.write_json(args.report, report.summary(findings, dataset.digest))
    for name, group in findings.items():
        report.require(group, name)


if __name__ == "__main__":
    stages.run(main)
