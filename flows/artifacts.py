"""What the Prefect UI shows beside states and logs: made by the flow, from files the stages write anyway."""

import base64
import contextlib
import contextvars
import json
import mimetypes
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)

from flows import process
from flows.graph import Stage

MOST_PICTURES = 6
MOST_BYTES = 1 << 20  # of one picture: it travels inside the artifact, so that the UI shows it from anywhere
LOOK_EVERY = 5.0  # seconds between two looks at a stage's progress
MLFLOW_PAGES = "FROSTLINE_MLFLOW_PAGES"  # the address of MLflow's pages; `make ui` sets it

Values = dict[str, dict[str, Any]]  # of the metrics files of a stage: by file, by dotted name


def key(*words: str) -> str:
    """A name that Prefect takes for an artifact: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def metrics(stage: Stage, root: Path) -> Values:
    """The numbers in the metrics files that exist; what is no JSON is left to the stage's own page."""
    found: Values = {}
    for path in stage.metrics:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            found[str(path.relative_to(root))] = dict(_flat(json.loads(path.read_text())))
    return found


def show_metrics(stage: Stage, before: Values, after: Values) -> None:
    """A table of every metrics file: what it says now, and what it said before this run."""
    for name, values in after.items():
        markdown = difference(before.get(name, {}), values)
        create_markdown_artifact(key=key(stage.address, Path(name).stem), markdown=markdown, description=name)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A markdown table of metrics: now, before, and by how much they differ; those that changed stand first."""
    names = sorted(before.keys() | after.keys(), key=lambda name: (before.get(name) == after.get(name), name))
    rows = [_row(name, before.get(name), after.get(name)) for name in names]
    return "\n".join(["| metric | now | last run | change |", "|---|---|---|---|", *rows])


def show_pictures(stage: Stage, root: Path) -> None:
    """The pictures that ``meta.prefect.pictures`` names, in one artifact."""
    if stage.hints.pictures is None:
        return
    found = [path for path in sorted(root.glob(stage.hints.pictures)) if path.stat().st_size <= MOST_BYTES]
    if not found:
        get_run_logger().warning("no picture is there: %s", stage.hints.pictures)
        return
    shown = [f"**{path.name}**\n\n![{path.name}]({_inside(path)})" for path in found[:MOST_PICTURES]]
    left = len(found) - len(shown)
    shown += [f"and {left} more in {found[0].parent.relative_to(root)}"] if left else []
    create_markdown_artifact(
        key=key(stage.address, "pictures"), markdown="\n\n".join(shown), description=stage.hints.pictures
    )


def show_runs(stage: Stage, root: Path) -> None:
    """A link to every MLflow run that the command ``meta.prefect.runs`` names; a command that fails costs the links."""
    if stage.hints.runs is None:
        return
    asked = subprocess.run(
        shlex.split(stage.hints.runs), cwd=root, env=process.environment(), capture_output=True, text=True, check=False
    )
    if asked.returncode:
        get_run_logger().warning("%s: %s", stage.hints.runs, asked.stderr.strip())
        return
    pages = os.environ.get(MLFLOW_PAGES, "http://127.0.0.1:5000")
    for line in asked.stdout.splitlines():
        name, _, place = line.partition(" ")
        create_link_artifact(
            key=key(stage.address, name), link=f"{pages}/{place}", link_text=name, description=f"{name} in MLflow"
        )


@contextlib.contextmanager
def progress(stage: Stage, root: Path) -> Iterator[threading.Event]:
    """While the body runs, a bar that follows the file ``meta.prefect.progress`` names; full if the body sets it."""
    whole, ended, context = threading.Event(), threading.Event(), contextvars.copy_context()
    if stage.hints.progress is None or not stage.hints.steps:
        yield whole
        return
    bar = UUID(str(create_progress_artifact(0.0, key=key(stage.address, "progress"), description=stage.address)))
    follower = threading.Thread(target=context.run, args=(_follow, stage, root, bar, ended), daemon=True)
    follower.start()
    try:
        yield whole
    finally:
        ended.set()
        follower.join()
        if whole.is_set():  # what it did lies in its outputs now
            update_progress_artifact(bar, progress=100.0)


def done(stage: Stage, root: Path) -> float | None:
    """Per cent of the steps that a stage has done by its newest progress file; None before there is one."""
    if stage.hints.progress is None or not stage.hints.steps:
        return None
    found = sorted(root.glob(stage.hints.progress))
    for path in reversed(found):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError, KeyError):  # it is being replaced
            return min(100.0, 100.0 * json.loads(path.read_text())["step"] / stage.hints.steps)
    return None


def _follow(stage: Stage, root: Path, bar: UUID, ended: threading.Event) -> None:
    shown = 0.0
    while not ended.wait(LOOK_EVERY):
        now = done(stage, root)
        if now is not None and now != shown:
            update_progress_artifact(bar, progress=now)
            shown = now


def _inside(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(values, dict):
        yield prefix, values
        return
    for name, value in values.items():
        yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))


def _row(name: str, before: Any, after: Any) -> str:
    return f"| {name} | {_word(after)} | {_word(before)} | {_change(before, after)} |"


def _word(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _change(before: Any, after: Any) -> str:
    numbers: Sequence[Any] = (before, after)
    if before == after or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
        return ""
    return f"{after - before:+.6g}"
