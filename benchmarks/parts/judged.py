"""What `frostline doctor --json` says of a case, once: a run that was stopped goes on with the cases it lacks."""

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.parts.sick import Project
from frostline import files

UNSAID = {"passed": False, "cause": "an error", "second_causes": [], "symptoms": [], "findings": [], "seconds": 0.0}


def judged(project: Project) -> dict[str, Any]:
    """What the command says of a project."""
    from frostline import cli

    words = ["frostline", "doctor", project.model, "--latents", str(project.latents), "--json"]
    words += ["--teacher", project.teacher] if project.teacher else []
    said, before = io.StringIO(), sys.argv
    try:
        sys.argv = words
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            cli.main()
    finally:
        sys.argv = before
    return json.loads(said.getvalue() or json.dumps(UNSAID))


class Cases:
    """Outcomes by name in a folder; those that are there are not judged again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)

    def of(self, name: str, make: Callable[[], Project]) -> dict[str, Any]:
        """What is said of a case, which is made if it was not judged yet."""
        file = self.folder / f"{re.sub(r'[^a-zA-Z0-9.]+', '-', name)}.json"
        if not file.is_file():
            files.write_json(file, _kept(judged(make())))
        found = files.read_json(file)
        tell(name, found)
        return found


def _kept(found: dict[str, Any]) -> dict[str, Any]:
    """What a figure is made of: verdicts and what was measured."""
    short = [{name: one[name] for name in ("id", "verdict", "measured", "reason")} for one in found["findings"]]
    return {name: found[name] for name in UNSAID if name != "findings"} | {"findings": short}


def tell(name: str, found: dict[str, Any]) -> None:
    """One case, as it was judged."""
    symptoms = " ".join(found["symptoms"])
    others = f"; second {' '.join(found['second_causes'])}" if found["second_causes"] else ""
    warned = [each["id"] for each in found["findings"] if each["verdict"] == "warn"]
    print(f"    {name}: {found['cause']} ({symptoms}){others}; warned {' '.join(warned)}", flush=True)
