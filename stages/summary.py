"""summary: the last lines of `make run`: what was made, how good it is, where to look, what to type next."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import stages

SHOWN = ("accuracy", "direction", "frechet_teacher", "frechet_real")  # what a reader asks for first


def main() -> None:
    """Read the reports of evaluate and register, print; nothing is written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--evaluation", type=Path, default=Path("reports/evaluation"))
    parser.add_argument("--registration", type=Path, default=Path("reports/registration.json"))
    args = parser.parse_args()

    from frostline import files, params

    settings = params.load(args.params)
    metrics = files.read_json(args.evaluation / "metrics.json")
    registered = files.read_json(args.registration)
    print("\nMade:")
    made = settings.models(args.models)
    for folder in made:
        name = f"{settings.register_.prefix}{folder.name}"
        print(f"  {folder}, registered as models:/{name}@{registered[name]['alias']}")
        for bucket, numbers in metrics[folder.name].items():
            print(f"    {bucket:9} {_words(numbers)}")
    print("Look at:")
    for place in [args.evaluation / "index.html", *sorted((args.evaluation / "pictures").glob("*_1x*.png"))]:
        print(f"  {place}")
    print("Type next (after `source .venv/bin/activate`):")
    print(f'  frostline sample --model {made[-1]} --prompt "a handwritten digit seven" --output seven.png')
    print("  make ui        the pages of Prefect and MLflow\n  make test      the tests")


def _words(numbers: Mapping[str, Any]) -> str:
    """The numbers of SHOWN, as far as they were measured."""
    return ", ".join(f"{name} {numbers[name]:.3g}" for name in SHOWN if name in numbers)


if __name__ == "__main__":
    stages.run(main)
