"""Write the numbers of every stage whose revision has none yet: `python -m tests.golden`."""

import sys

from tests.golden import comparing, runs


def main() -> int:
    """Numbers of a revision are written once; other numbers need another revision."""
    status = 0
    for stage in runs.RUNS:
        found, path = runs.numbers(stage), comparing.file(stage)
        if not path.exists():
            comparing.write(stage, found)
            print(f"{stage}: wrote {path}")
        elif changed := comparing.changes(comparing.read(stage), found):
            print(f"{stage}: {path.name} holds other numbers ({changed[0]}). " + comparing.HOW.format(stage=stage))
            status = 1
        else:
            print(f"{stage}: {path.name} still holds")
    return status


if __name__ == "__main__":
    sys.exit(main())
