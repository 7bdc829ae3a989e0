"""prepare@SOURCE: media and captions, or the embedded data, to a manifest of rows and of what was left out."""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import stages

if TYPE_CHECKING:
    from frostline.manifest import Rejected
    from frostline.sources import Progress

SHOWN = 20  # lines of what was left out; the table in the manifest holds all


def main() -> None:
    """Read the source's media, write its manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--manifest", type=Path, required=True)
    args = parser.parse_args()

    from frostline import manifest, params, sources, workspace

    source = params.load(args.params).source(args.source)
    with workspace.lock(args.manifest):
        rows, rejected = sources.rows(args.source, source, _progress(args.source))
        _show(rejected)
        sources.require_usable(args.source, source, rows, rejected)
        summary = manifest.write(args.manifest, rows, rejected)
    for bucket, splits in summary["buckets"].items():
        print(f"{args.source}: {bucket} " + ", ".join(f"{count} {split}" for split, count in splits.items()))
    print(f"{args.source}: {summary['rows']} rows of {summary['items']} items, {len(rejected)} left out")


def _progress(source: str) -> "Progress":
    """A progress bar, on a terminal."""
    import tqdm

    return functools.partial(tqdm.tqdm, desc=f"prepare {source}", unit=" items", disable=None)


def _show(rejected: "Sequence[Rejected]") -> None:
    """Print what was left out, so that it is seen even if the stage then refuses to go on."""
    for entry in rejected[:SHOWN]:
        print(f"left out ({entry.reason}): {entry.detail}", file=sys.stderr)
    if len(rejected) > SHOWN:
        print(f"left out: and {len(rejected) - SHOWN} more", file=sys.stderr)


if __name__ == "__main__":
    stages.run(main)
