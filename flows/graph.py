"""The only door to DVC's Python interface, which is internal and may change: the stages of dvc.yaml and what is due."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.rwlock import rwlock
from dvc.stage import PipelineStage
from dvc.utils.serialize import load_yaml, modify_yaml

from flows.errors import WrongUse

LOCK = "dvc.lock"


class WrongHint(WrongUse):
    """A stage's ``meta: prefect:`` in dvc.yaml says something that the flow does not know."""


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What dvc.yaml tells Prefect about one stage, under ``meta: {prefect: {...}}``; DVC itself ignores it."""

    retries: int = 0  # more attempts after a failure
    timeout: float | None = None  # seconds
    verify: str | None = None  # a command that fails when what the stage made outside DVC (registered models) is gone
    pool: str | None = None  # the work pool that takes the stage when the flow spreads; None: it runs here
    gpus: int = 0  # slots of the concurrency limit "gpu" that it holds while it runs
    progress: str | None = None  # files of the stage's own, JSON with a "step"; the newest says how far it is
    steps: int | None = None  # that make the whole
    pictures: str | None = None  # files that are shown once it has run
    runs: str | None = None  # a command that prints a line for each MLflow run it made: name, address in MLflow's pages


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage that `dvc repro` would consider; ``changed``: it, or something upstream, differs from dvc.lock."""

    address: str
    upstream: tuple[str, ...]
    changed: bool
    metrics: tuple[Path, ...]
    hints: Hints


def read(root: str | Path, target: str | None = None, *, pull: bool = False) -> tuple[Stage, ...]:
    """The active stages of a DVC project, every stage after those it depends on; those that ``target`` needs, or all.

    Frozen stages are left out, as `dvc repro` leaves them. Whether a stage changed is asked only when nothing upstream
    did: asking hashes its dependencies and outputs. Raises WrongUse for what could not be run to its end: a cycle, a
    dependency that nobody makes, an unknown target, a project that is in use, a remote that is not there.
    """
    with _opened(Path(root)) as repo:
        graph = get_active_graph(repo.index.graph)
        wanted = None if target is None else _targets(repo, target)
        stages: dict[str, Stage] = {}
        nodes = [node for node in plan_repro(graph, wanted) if isinstance(node, PipelineStage) and not node.frozen]
        _require_dependencies(repo, nodes)
        if pull:
            repo.cloud.get_remote(None, "pull")
        with _read_locked(repo, nodes):
            for node in nodes:  # successors in the graph are upstream
                above = [_address(up) for up in graph.successors(node) if isinstance(up, PipelineStage)]
                upstream = tuple(sorted(address for address in above if address in stages))
                changed = any(stages[address].changed for address in upstream) or _changed(node)
                stages[_address(node)] = _stage(node, upstream, changed=changed)
    return tuple(stages.values())


def one(root: str | Path, address: str) -> Stage:
    """One stage by its address, with all that it is made from upstream; whether it changed is not asked."""
    with _opened(Path(root)) as repo:
        [node, *_] = _targets(repo, address)
        _require_dependencies(repo, [node])
        graph = get_active_graph(repo.index.graph)
        above = [_address(up) for up in graph.successors(node) if isinstance(up, PipelineStage) and not up.frozen]
        return _stage(node, tuple(sorted(above)), changed=True)


def require_remote(root: str | Path) -> None:
    """Raise WrongUse if the project has no DVC remote."""
    with _opened(Path(root)) as repo:
        repo.cloud.get_remote(None, "pull")


def _stage(node: PipelineStage, upstream: tuple[str, ...], *, changed: bool) -> Stage:
    return Stage(
        address=_address(node),
        upstream=upstream,
        changed=changed,
        metrics=tuple(Path(out.fs_path) for out in node.outs if out.metric),
        hints=_hints(_address(node), node.meta),
    )


def locked(root: str | Path) -> list[str]:
    """The stages in dvc.lock, in its order."""
    path = Path(root) / LOCK
    return list(load_yaml(path)["stages"]) if path.exists() else []


def order_lock(root: str | Path, order: Sequence[str]) -> None:
    """Bring dvc.lock into an order, stages that it does not name last; its entries stay as they are.

    DVC appends a stage when it ends. Where several run at a time, chance would say in which order that is.
    """
    with _opened(Path(root)), modify_yaml(Path(root) / LOCK) as lock:
        places = {address: place for place, address in enumerate(order)}
        stages = lock["stages"]
        wanted = sorted(stages, key=lambda address: places.get(address, len(places)))
        entries = {address: stages[address] for address in wanted}
        stages.clear()
        stages.update(entries)


def uncached(root: str | Path) -> tuple[str, ...]:
    """Outputs, relative to a project, that git keeps: reports and metrics."""
    with _opened(Path(root)) as repo:
        outs = [out for out in repo.index.outs if out.protocol == "local" and not out.use_cache]
        return tuple(str(Path(out.fs_path).relative_to(Path(root).resolve())) for out in outs)


def share_cache(root: str | Path, other: str | Path) -> None:
    """Give the project in ``other``, a copy of that in ``root``, the same cache and remotes, and check out from it."""
    with _opened(Path(root)) as repo:
        cache, config = repo.cache.local_cache_dir, cast(Any, repo.config)
        known, local = config.read("repo"), config.read("local")  # their paths are absolute here
    edited: Any
    with Repo(str(other)) as copy, copy.config.edit("local") as edited:
        edited["remote"] = {**known["remote"], **local["remote"]}
        edited["core"] = {**local["core"]}
        edited["cache"] = {**local["cache"], "dir": cache}
    with Repo(str(other)) as copy, contextlib.suppress(DvcException):  # what the cache lacks is made, not fetched
        copy.checkout(force=True)


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[Repo]:
    """A project under DVC's lock; what DVC says is wrong becomes WrongUse."""
    try:
        with Repo(str(root)) as repo, repo.lock:
            yield repo
    except LockError as error:
        raise WrongUse(f"{root}: another DVC command is at work there; wait for its end, then run again") from error
    except DvcException as error:
        causes = [str(one) for one in (error, error.__cause__) if one is not None]
        raise WrongUse(f"{root}: {'; '.join(causes)}") from error


@contextlib.contextmanager
def _read_locked(repo: Repo, nodes: Sequence[PipelineStage]) -> Iterator[None]:
    """Nobody writes what the stages read and make. Raises LockError if somebody does.

    DVC takes this lock for each stage three times, each a file that is written twice: most of the time of a plan.
    """
    paths = {item.fs_path for node in nodes for item in (*node.deps, *node.outs) if item.protocol == "local"}
    hardlink = repo.config["core"].get("hardlink_lock", False)
    with rwlock(repo.tmp_dir, repo.fs, "the plan of a flow", sorted(paths), [], hardlink):
        yield


def _changed(node: PipelineStage) -> bool:
    """``node.changed()`` under the lock of all stages."""
    if node.changed_stage() or node.is_callback or node.always_changed:
        return True
    return _unlocked(PipelineStage._changed_deps)(node) or _unlocked(PipelineStage.changed_outs)(node)


def _unlocked(method: Any) -> Callable[[PipelineStage], bool]:
    """A method of DVC's stages without the lock that it is wrapped in."""
    wrapped: Callable[[PipelineStage], bool] = method.__wrapped__
    return wrapped


def _targets(repo: Repo, target: str) -> list[PipelineStage]:
    """The stage of that address, or all of a group that dvc.yaml makes by foreach."""
    stages = {_address(one): one for one in repo.index.stages if isinstance(one, PipelineStage)}
    found = [stage for address, stage in stages.items() if address == target or address.startswith(f"{target}@")]
    if not found:
        raise WrongUse(f"target {target!r}: dvc.yaml has no such stage; it has {', '.join(sorted(stages))}")
    return found


def _require_dependencies(repo: Repo, nodes: Sequence[PipelineStage]) -> None:
    """Raise WrongUse for a local dependency that is not there and that no stage makes or makes a part of."""
    made = {Path(out.fs_path) for out in repo.index.outs if out.protocol == "local"}
    inside = made | {parent for path in made for parent in path.parents}
    for node in nodes:
        for dep in node.deps:
            if dep.protocol != "local":
                continue
            path = Path(dep.fs_path)
            if path not in inside and not made.intersection(path.parents) and not path.exists():
                raise WrongUse(
                    f"dvc.yaml, stage {_address(node)}: its dependency {dep.def_path} does not exist, and no stage "
                    "makes it; put it there, or take it out of deps"
                )


def _address(node: PipelineStage) -> str:
    """What `dvc repro` in the project's root calls a stage (``node.addressing`` is relative to the present folder)."""
    return str(node.name) if node.path_in_repo == "dvc.yaml" else f"{node.path_in_repo}:{node.name}"


def _hints(address: str, meta: Mapping[str, Any] | None) -> Hints:
    values = (meta or {}).get("prefect", {})
    known = Hints.__dataclass_fields__
    if unknown := sorted(set(values) - set(known)):
        raise WrongHint(f"dvc.yaml, stage {address}: meta.prefect knows {sorted(known)}, not {unknown}")
    return Hints(**values)
