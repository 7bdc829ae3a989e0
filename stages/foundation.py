"""foundation: the miniature Wan's frozen parts and the judge, from the embedded digits. Frozen: run once, shipped."""

import argparse
from pathlib import Path

import stages


def main() -> None:
    """Train and write the whole base folder, on one thread: the networks are too small for more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    args = parser.parse_args()

    import torch

    from frostline import files, foundation, workspace

    torch.set_num_threads(1)
    with workspace.lock(args.base), files.new_folder(args.base) as folder:
        foundation.make(folder, foundation.Recipe(), say=lambda line: print(line, flush=True))


if __name__ == "__main__":
    stages.run(main)
