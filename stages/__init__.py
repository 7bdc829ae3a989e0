"""What each step reads and writes: one verb per file, the same word as in dvc.yaml and params.yaml."""

import importlib.util
import sys
from collections.abc import Callable

from frostline import workspace
from frostline.errors import FrostlineError, WrongUse

workspace.settle()


def require_environment() -> None:
    """Raise WrongUse, naming the interpreter, where `python` is not the one that Frostline was installed for."""
    if importlib.util.find_spec("torch") is None:
        raise WrongUse(f"{sys.executable} has no torch: run `source .venv/bin/activate` first, or `make install`")


def run(main: Callable[[], None]) -> None:
    """Run a stage's ``main``: ends with its parent, prints an expected failure as one line, exits with its code."""
    workspace.die_with_parent()
    try:
        require_environment()
        main()
    except FrostlineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
