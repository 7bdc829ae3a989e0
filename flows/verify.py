"""What stages made outside DVC (registered models): `python -m flows.verify` makes anew what is gone.

dvc.lock knows nothing of it: with the registry emptied, `dvc repro` still says that all is up to date. In dvc.yaml a
stage names the command that looks, under ``meta: {prefect: {verify: ...}}``.
"""

import shlex
import subprocess
import sys
from pathlib import Path

from flows import graph, process


def stands(stage: graph.Stage, root: Path) -> bool:
    """Whether the stage's verify command, if it has one, succeeds; what the command prints is passed on."""
    if stage.hints.verify is None:
        return True
    words = shlex.split(stage.hints.verify)
    return subprocess.run(words, cwd=root, env=process.environment(), check=False).returncode == 0


def main() -> None:
    """Run again, in the present project, every unchanged stage whose work outside DVC is gone."""
    root = Path.cwd()
    for stage in graph.read(root):
        if not stage.changed and not stands(stage, root):
            print(f"{stage.address}: what it made outside DVC is gone; it runs again", flush=True)
            again = [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", stage.address]
            subprocess.run(again, cwd=root, env=process.environment(), check=True)


if __name__ == "__main__":
    main()
