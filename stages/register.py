"""register: models that pass every gate go into the MLflow registry; one failed gate, and nothing is registered."""

import argparse
from pathlib import Path
from typing import Any

import stages


def main() -> None:
    """Read models and reports, write model versions and a report without ids or times; or, with --check, look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, help="folder of model folders")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--evaluation", type=Path, help="folder with metrics.json and evaluated.json")
    parser.add_argument("--preflight", type=Path)
    parser.add_argument("--doctor", type=Path, help="what diagnose wrote")
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument(
        "--check", action="store_true", help="only say whether what the report names is in the registry"
    )
    args = parser.parse_args()

    wanted = ("models", "evaluation", "preflight", "doctor")
    missing = [f"--{name}" for name in wanted if getattr(args, name) is None]
    if missing and not args.check:
        parser.error(f"{', '.join(missing)} missing: a model is registered for what is known of it")

    from frostline import registration

    if args.check:
        registration.require_registered(args.report, args.registry)
    else:
        register(args)


def register(args: Any) -> None:
    """Judge all models, then register all."""
    from frostline import files, gates, params, registration, workspace

    everything = params.load(args.params)
    settings = everything.register_
    with workspace.lock(args.report):
        evidence = [
            registration.evidence(folder, args.evaluation, args.preflight, args.doctor)
            for folder in everything.models(args.models)
        ]
        verdicts = {one.folder: gates.judge(one, settings.gates) for one in evidence}
        gates.require(verdicts)
        report = {}
        for folder, found in verdicts.items():
            version, facts = registration.register(folder, settings, args.evaluation, args.registry)
            report[version.name] = {**facts, "gates": {verdict.gate: verdict.says for verdict in found}}
            new = "registered" if version.created else "already there"
            print(
                f"{folder}: {new} as {version.name} version {version.number}, models:/{version.name}@{settings.alias}"
            )
        files.write_json(args.report, report)


if __name__ == "__main__":
    stages.run(main)
