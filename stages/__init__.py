"""What each step reads and writes: one verb per file, the same word as in dvc.yaml and params.yaml."""

import sys
from collections.abc import Callable

from frostline import workspace
from frostline.errors import FrostlineError

workspace.settle()


def run(main: Callable[[], None]) -> None:
    """Run a stage's ``main``: ends with its parent, prints an expected failure as one line, exits with its code."""
    workspace.die_with_parent()
    try:
        main()
    except FrostlineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
