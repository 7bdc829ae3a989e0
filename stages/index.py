"""index: all caches as one dataset, named by digest; refuses unknown folders and mixed latent spaces."""

import argparse
from pathlib import Path

import stages


def main() -> None:
    """Read the caches' manifests, write data/latents.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    args = parser.parse_args()

    from frostline import dataset, files, params

    settings = params.load(args.params)
    facts = dataset.index(args.latents, sorted(settings.sources))
    files.write_json(args.index, facts)
    rows = sum(sum(source["rows"].values()) for source in facts["sources"].values())
    print(f"{len(facts['sources'])} source(s), {rows} rows, dataset {facts['digest']}")


if __name__ == "__main__":
    stages.run(main)
