"""prepare@SOURCE: media and captions, or the embedded data, to a manifest of rows and of what was left out."""

import argparse
import functools
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import stages

if TYPE_CHECKING:
    from frostline.manifest import Rejected
    from frostline.sources.means import Progress

SHOWN = 20  # lines of what was left out; the table in the manifest holds all


def main() -> None:
    """Read the source's media, write its manifest and its examples."""
    args = _arguments()
    gc.disable()  # what is known of media is much and has no cycles; to look for them takes longer than all else

    from frostline import given, manifest, params, workspace
    from frostline.sources import preparing
    from frostline.sources.sheets import Sheets

    manifest.without_pandas()
    settings = params.load(args.params)
    if args.require_given:
        given.require(settings)
    name, source, sheets = args.source, settings.source(args.source), Sheets()
    means = preparing.Means(processes=args.processes, verify=args.verify, progress=_progress(name), look=sheets.look)
    with workspace.lock(args.manifest):
        rows, rejected = preparing.columns(name, source, means)
        _show(rejected)
        require = functools.partial(preparing.require_usable, name, source, rejected=rejected)
        summary = manifest.write_columns(args.manifest, sheets.over(rows), rejected, require)
        if args.sheets:
            sheets.write(args.sheets, name, source, rejected, means.pictures(name))
    for bucket, splits in summary["buckets"].items():
        print(f"{name}: {bucket} " + ", ".join(f"{count} {split}" for split, count in splits.items()))
    print(f"{name}: {summary['rows']} rows of {summary['items']} items, {summary['left_out']} left out")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--sheets", type=Path, help="folder for thumbnails of examples")
    parser.add_argument(
        "--processes", type=_positive, default=len(os.sched_getaffinity(0)), help="that decode; by default one a CPU"
    )
    parser.add_argument("--verify", action="store_true", help="read all bytes, whatever sizes and times of files say")
    parser.add_argument(
        "--require-given", action="store_true", help="look first whether all is there that later stages begin with"
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; give 1 or more")
    return int(text)


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
