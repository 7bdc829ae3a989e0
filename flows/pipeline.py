"""The graph of dvc.yaml as one Prefect flow: `python -m flows.pipeline`. Without a server it starts its own.

Exit code 0: every stage is up to date. 1: a stage failed. 75: it was stopped; run it again and it goes on.
"""

import argparse
import sys
from typing import Any

from prefect import flow
from prefect.client.schemas import State
from prefect.states import Cancelled
from prefect.task_runners import ThreadPoolTaskRunner

from flows import orchestrator, server

STOPPED = 75


@flow(name="frostline", persist_result=False)
def pipeline(root: str = ".") -> list[State] | State:
    """Bring every stage of the DVC project in ``root`` up to date."""
    project = orchestrator.DvcOrchestrator(root)
    plan = project.plan()
    states = project.run(plan)
    print(orchestrator.summary(plan, states))
    if project.stopped:
        return Cancelled(message="stopped; work in progress is kept: run the same command again to go on")
    return list(states.values())


def main() -> None:
    """Run the flow once and leave with its exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description=pipeline.description)
    parser.add_argument("--root", default=".", help="the DVC project (default: here)")
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time (default: 1)")
    options = parser.parse_args()
    jobs: Any = ThreadPoolTaskRunner(max_workers=options.jobs)  # Prefect's own types disagree about its runners
    with server.api():
        state = pipeline.with_options(task_runner=jobs)(options.root, return_state=True)
    if state.is_cancelled():
        print(state.message, file=sys.stderr)
        sys.exit(STOPPED)
    sys.exit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    main()
