"""The only door to DVC's Python interface, which is internal and may change: the stages of dvc.yaml and what is due."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.stage import PipelineStage


class WrongHint(ValueError):
    """A stage's ``meta: prefect:`` in dvc.yaml says something that the flow does not know."""


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What dvc.yaml tells Prefect about one stage, under ``meta: {prefect: {...}}``; DVC itself ignores it.

    ``retries``: more attempts after a failure. ``timeout``: seconds.
    ``verify``: a command that fails when what the stage made outside DVC (registered models) is gone.
    """

    retries: int = 0
    timeout: float | None = None
    verify: str | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage that `dvc repro` would consider; ``changed``: it, or something upstream, differs from dvc.lock."""

    address: str
    upstream: tuple[str, ...]
    changed: bool
    metrics: tuple[Path, ...]
    hints: Hints


def read(root: str | Path) -> tuple[Stage, ...]:
    """The active stages of a DVC project, every stage after those it depends on.

    Frozen stages are left out, as `dvc repro` leaves them. Whether a stage changed is asked only when nothing upstream
    did: asking hashes its dependencies and outputs.
    """
    with Repo(str(root)) as repo, repo.lock:
        graph = get_active_graph(repo.index.graph)
        stages: dict[str, Stage] = {}
        for node in plan_repro(graph):  # successors in the graph are upstream
            if not isinstance(node, PipelineStage) or node.frozen:
                continue
            above = [_address(up) for up in graph.successors(node) if isinstance(up, PipelineStage)]
            upstream = tuple(sorted(address for address in above if address in stages))
            changed = any(stages[address].changed for address in upstream) or node.changed(allow_missing=False)
            stages[_address(node)] = Stage(
                address=_address(node),
                upstream=upstream,
                changed=changed,
                metrics=tuple(Path(out.fs_path) for out in node.outs if out.metric),
                hints=_hints(_address(node), node.meta),
            )
    return tuple(stages.values())


def _address(node: PipelineStage) -> str:
    """What `dvc repro` in the project's root calls a stage (``node.addressing`` is relative to the present folder)."""
    return str(node.name) if node.path_in_repo == "dvc.yaml" else f"{node.path_in_repo}:{node.name}"


def _hints(address: str, meta: Mapping[str, Any] | None) -> Hints:
    values = (meta or {}).get("prefect", {})
    known = Hints.__dataclass_fields__
    if unknown := sorted(set(values) - set(known)):
        raise WrongHint(f"dvc.yaml, stage {address}: meta.prefect knows {sorted(known)}, not {unknown}")
    return Hints(**values)
