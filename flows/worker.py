"""A worker on this host: `python -m flows.worker POOL [POOL ...]`, in a clone of its own. Ctrl-C ends it.

It takes flow runs of the pools from the server that PREFECT_API_URL names. Stages of other workspaces (pool gpu) run in
this clone, so it is the worker's alone; one stage at a time.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

import httpx
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import commands, graph, keeping, leash, placing, process, running, server
from flows.errors import WrongUse

WORKSPACE = "FROSTLINE_WORKSPACE"  # where a worker's flow runs work: the pull step of prefect.yaml goes there
LOOK_EVERY = 20.0  # seconds between two looks for runs that were taken and not started
HEARTBEAT = 30  # seconds between two signs of life of a flow run
ENDING = 40.0  # seconds for flow runs to have their stages save before they are killed


@flow(name="stage", persist_result=False)
def stage(address: str, snapshot: str, force: bool = False, root: str = ".") -> State:
    """Run one stage of another workspace's snapshot and push its result.

    Args:
        address: the stage, as `dvc repro` calls it.
        snapshot: a commit that the other workspace has pushed to refs/frostline/ of git's remote.
        force: it runs even if the remote has the result.
        root: the worker's own clone.

    """
    leash.tie_to_worker()
    folder = Path(root).resolve()
    with keeping.alone(folder):
        keeping.begin(folder)
        _check_out(folder, snapshot)
        chosen = graph.one(folder, address)
        runner = running.Runner(folder)
        with runner.signals_forwarded():
            return _work(
                runner, running.Step(stage=chosen, run=True, force=force, pull=not force, reason="placed here")
            )


def _work(runner: running.Runner, step: running.Step) -> State:
    @task(name=step.stage.address, task_run_name=step.stage.address, cache_policy=NO_CACHE, persist_result=False)
    def work() -> State:
        if step.stage.upstream:
            commands.dvc(runner.root, "pull", *step.stage.upstream)
        state = runner.run(step)
        if state.is_completed():
            commands.dvc(runner.root, "push", "--run-cache", step.stage.address)
        return state

    return work(return_state=True)


def _check_out(folder: Path, snapshot: str) -> None:
    """Bring a clone to a snapshot; what stages wrote into tracked files is given up, other changes are refused."""
    if changed := commands.changes(folder, graph.uncached(folder)):
        raise WrongUse(f"{folder}: a worker's clone has changes of its own: {', '.join(changed[:5])}; `git stash` them")
    reference = placing.REFERENCES + snapshot
    commands.git(folder, "fetch", "--quiet", "--force", placing.remote(folder), f"{reference}:{reference}")
    commands.git(folder, "checkout", "--quiet", "--force", "--detach", snapshot)


class Worker:
    """A Prefect worker for one pool, in a process of its own that ends with this one."""

    def __init__(self, pool: str, workspace: Path, limit: int, settings: dict[str, str] | None = None) -> None:
        """``limit``: flow runs at a time. ``settings``: of the environment of all that it runs."""
        words = ["prefect", "worker", "start", "--pool", pool, "--type", "process", "--limit", str(limit)]
        here = {WORKSPACE: str(workspace), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT), **(settings or {})}
        self._process = process.Process([sys.executable, "-m", *words], workspace, here)
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        address = here.get("PREFECT_API_URL") or os.environ["PREFECT_API_URL"]
        threading.Thread(target=self._look_after, args=(pool, address), daemon=True).start()

    def end(self) -> None:
        """Ask it and its flow runs to end, and wait for that."""
        self._process.end_children(ENDING)
        self._process.end()

    def _read(self) -> None:
        for line in self._process.lines():
            print(line, flush=True)
        self.ended.set()

    def _look_after(self, pool: str, address: str) -> None:
        """See to the runs that other workers of the pool took and were killed with."""
        while not self.ended.wait(LOOK_EVERY):
            with (
                contextlib.suppress(httpx.HTTPError),  # the server is away: later
                temporary_settings({PREFECT_API_URL: address}),
                get_client(sync_client=True) as client,
            ):
                keeping.submit_again(client, pool)


def main() -> None:
    """Serve the pools until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m flows.worker", description=__doc__)
    parser.add_argument("pools", nargs="+", metavar="POOL")
    parser.add_argument("--limit", type=int, default=1, help="flow runs at a time of each pool (default: 1)")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        serve(options.pools, options.limit)
    except KeyboardInterrupt:
        print("ended")
    except WrongUse as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def serve(pools: list[str], limit: int) -> None:
    """Run a worker for every pool until interrupted; raises WrongUse if the server does not answer."""
    if "PREFECT_API_URL" not in os.environ:
        raise WrongUse("PREFECT_API_URL is not set: which server has the work? `make ui` prints the address of one")
    server.require_answering()
    workspace = Path.cwd()
    mend(workspace)
    with contextlib.ExitStack() as stack:
        workers = [Worker(pool, workspace, limit) for pool in pools]
        for worker in workers:
            stack.callback(worker.end)
        while not any(worker.ended.wait(1) for worker in workers):
            pass
    raise WrongUse(f"a worker of {', '.join(pools)} ended by itself; what it said stands above")


def mend(workspace: Path) -> None:
    """End the records of flow runs that were killed in this workspace, unless a flow is at work there."""
    with contextlib.suppress(WrongUse), keeping.alone(workspace), get_client(sync_client=True) as client:
        keeping.mend(client, workspace)


if __name__ == "__main__":
    main()
