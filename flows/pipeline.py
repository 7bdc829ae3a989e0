"""The graph of dvc.yaml as one Prefect flow: `python -m flows.pipeline`. Without a server it starts its own.

Exit code 0: every stage is up to date. 1: a stage failed. 2: it could not begin. 75: it was stopped, and goes on when
it is run again.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect import flow
from prefect.client.schemas import State
from prefect.states import Cancelled
from prefect.task_runners import ThreadPoolTaskRunner

from flows import experiments, keeping, leash, orchestrator, placing, server
from flows.errors import WrongUse

STOPPED = 75
NONE: dict[str, Any] = {}  # forms in the UI follow the types: a null would have no field
# A thread waits for each stage on another host; how many run here at a time is said by ``jobs``.
THREADS: Any = ThreadPoolTaskRunner(max_workers=64)  # Prefect's own types disagree about its runners


@flow(name="frostline", persist_result=False, task_runner=THREADS)
def pipeline(
    root: str = ".",
    target: str = "",
    overrides: dict[str, Any] = NONE,
    name: str = "",
    force: bool = False,
    pull: bool = False,
    spread: bool = False,
    jobs: int = 1,
) -> list[State] | State:
    """Bring the stages of a DVC project up to date, as `dvc repro` does.

    Args:
        root: the project's folder.
        target: one stage and all that it needs; left out, all stages.
        overrides: other values of params.yaml by dotted name, such as {"students.guided.steps": 400}. The run is then
            an experiment in a worktree of its own, beside the workspace, and ends as the branch experiments/NAME.
        name: of the experiment.
        force: stages that did not change run too.
        pull: what is missing comes from the DVC remote.
        spread: stages with a pool in dvc.yaml go to its workers on other hosts.
        jobs: stages at a time on this host.

    """
    leash.tie_to_worker()
    here = Path(root).resolve()
    if not overrides:
        if name:
            raise WrongUse(f"experiment {name!r}: give it params of its own (overrides, --set)")
        return _final(*_run(here, target, force=force, pull=pull, spread=spread, jobs=jobs))
    with experiments.worktree(here, overrides, name or None) as folder:
        project, states = _run(folder, target, force=force, pull=pull, spread=spread, jobs=jobs)
        if not project.stopped and all(state.is_completed() for state in states.values()):
            print(f"kept as the branch {experiments.keep(here, folder, overrides)}")
    return _final(project, states)


def _run(
    folder: Path, target: str, *, force: bool, pull: bool, spread: bool, jobs: int
) -> tuple[orchestrator.DvcOrchestrator, dict[str, State]]:
    """Plan and run one project; raises WrongUse before anything has started."""
    with keeping.alone(folder, wait=leash.of_worker()):
        keeping.begin(folder)
        placer = placing.Placer(folder) if spread else None
        project = orchestrator.DvcOrchestrator(folder, placer, jobs)
        plan = project.plan(target or None, force=force, pull=pull)
        server.require_gpu_limit(step.stage.address for step in plan if step.run and step.stage.hints.gpus)
        if placer is not None:
            placer.require(plan)
        states = project.run(plan)
        print(orchestrator.summary(plan, states))
        return project, states


def _final(project: orchestrator.DvcOrchestrator, states: dict[str, State]) -> list[State] | State:
    if project.stopped:
        return Cancelled(message="stopped; work in progress is kept: run the same command again to go on")
    return list(states.values())


def main() -> None:
    """Run the flow once and leave with its exit code."""
    options = _options()
    try:
        overrides = dict(_override(word) for word in options.set)
        with server.api():
            state = pipeline(
                options.root,
                options.target or "",
                overrides=overrides,
                name=options.name or "",
                force=options.force,
                pull=options.pull,
                spread=options.spread,
                jobs=options.jobs,
                return_state=True,
            )
            wrong = None if state.is_completed() or state.is_cancelled() else state.result(raise_on_failure=False)
        if isinstance(wrong, WrongUse):
            raise wrong
    except (WrongUse, server.ServerFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(WrongUse.exit_code)
    if state.is_cancelled():
        print(state.message, file=sys.stderr)
        sys.exit(STOPPED)
    sys.exit(0 if state.is_completed() else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description=pipeline.description)
    parser.add_argument("target", nargs="?", help="a stage and all that it needs (default: all stages)")
    parser.add_argument("--root", default=".", help="the DVC project (default: here)")
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time here (default: 1)")
    parser.add_argument("--force", action="store_true", help="run what did not change, too")
    parser.add_argument("--pull", action="store_true", help="take what is missing from the DVC remote")
    parser.add_argument("--spread", action="store_true", help="give stages with a pool to its workers")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="an experiment: another value in params.yaml"
    )
    parser.add_argument("--name", help="of the experiment")
    return parser.parse_args()


def _override(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals:
        raise WrongUse(f"--set {word}: write NAME=VALUE, such as --set students.guided.steps=400")
    return name, yaml.safe_load(value)


if __name__ == "__main__":
    main()
