"""Stages that belong on other hosts: given to the workers of a pool, their results fetched by way of the DVC remote.

    here    push what the stage reads, push a snapshot of the workspace to git's remote, ask the pool's worker, wait,
            then `dvc repro --pull` the stage, which finds the result in the remote's run cache
    there   flows/worker.py: check the snapshot out, pull, run, push with the run cache

dvc.lock is written here alone.
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.client.schemas.filters import WorkPoolFilter
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Completed

from flows import commands, graph
from flows.errors import WrongUse
from flows.running import Runner, StageFailed, Step

REFERENCES = "refs/frostline/"  # in git's remote: snapshots that workers check out
LOOK_EVERY = 2.0  # seconds between two questions how a placed stage is
LOST = 3  # times a stage whose worker was lost is given to another one


class Placer:
    """Runs steps on the workers of their pools; one of a flow."""

    def __init__(self, root: Path) -> None:
        """Raises WrongUse unless workspace and workers can meet: git's remote, DVC's remote."""
        self.root = root
        self._turn = threading.Lock()  # of those who touch git and the remote
        graph.require_remote(root)
        if not commands.git(root, "remote").split():
            raise WrongUse(f"{root}: no git remote, from which workers get what to run; `git remote add origin URL`")

    def require(self, plan: Sequence[Step]) -> None:
        """Raise WrongUse for a pool of the plan that has no deployment to take stages."""
        pools = sorted({step.stage.hints.pool for step in plan if step.run and step.stage.hints.pool})
        with get_client(sync_client=True) as client:
            known = {pool.name for pool in client.read_work_pools(work_pool_filter=WorkPoolFilter())}
            for pool in pools:
                with contextlib.suppress(ObjectNotFound):
                    if pool in known and client.read_deployment_by_name(f"stage/{pool}"):
                        continue
                raise WrongUse(
                    f"meta.prefect.pool: {pool} in dvc.yaml: the Prefect server has no deployment stage/{pool}, or no "
                    f"such pool; `make schedule` makes them, `python -m flows.worker {pool}` on the other host serves"
                )

    def __call__(self, runner: Runner, step: Step) -> State:
        """Have one step done by a worker and bring its result here."""
        for _ in range(LOST):
            with self._turn:
                self._push(step)
                snapshot = self._snapshot()
            state = self._elsewhere(runner, step, snapshot)
            if state.is_cancelled() or runner.stopped:
                return Cancelled(message="the flow was stopped; what the stage has saved is kept where it ran")
            if state.is_completed():
                return self._fetched(runner, step)
            if not state.is_crashed():
                raise StageFailed(
                    f"{step.stage.address} failed on a worker of {step.stage.hints.pool}: {state.message}"
                )
            get_run_logger().warning("its worker was lost: giving it to another one")
        raise StageFailed(f"{step.stage.address}: {LOST} workers of {step.stage.hints.pool} were lost while it ran")

    def _push(self, step: Step) -> None:
        """What the stage reads, into the remote."""
        if step.stage.upstream:
            commands.dvc(self.root, "push", *step.stage.upstream)

    def _snapshot(self) -> str:
        """A commit of the workspace as it is, with what is in no commit yet, known to git's remote; its id.

        The branch and the index of the workspace stay as they are.
        """
        made = [name for name in ("dvc.lock", *graph.uncached(self.root)) if (self.root / name).exists()]
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            commands.git(self.root, "read-tree", "HEAD", settings=index)
            commands.git(self.root, "add", "--update", settings=index)
            commands.git(self.root, "add", "--force", "--", *made, settings=index)
            tree = commands.git(self.root, "write-tree", settings=index)
        name = {"GIT_AUTHOR_NAME": "frostline", "GIT_AUTHOR_EMAIL": "frostline@localhost"}
        name |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in name.items()}
        moment = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}  # the same tree, the same commit
        commit = commands.git(self.root, "commit-tree", tree, "-p", "HEAD", "-m", "workspace", settings=name | moment)
        commands.git(self.root, "push", "--quiet", "--force", remote(self.root), f"{commit}:{REFERENCES}{commit}")
        return commit

    def _elsewhere(self, runner: Runner, step: Step, snapshot: str) -> State:
        """The final state of the stage's flow run on a worker."""
        run: Any = run_deployment(  # in a task it waits; its types say that it might not
            f"stage/{step.stage.hints.pool}",
            parameters={"address": step.stage.address, "snapshot": snapshot, "force": step.force},
            flow_run_name=step.stage.address,
            timeout=0,
        )
        with get_client(sync_client=True) as client:
            while True:
                state = client.read_flow_run(run.id).state
                if state is not None and state.is_final():
                    return state
                if runner.stopped and (state is None or not state.is_cancelling()):
                    client.set_flow_run_state(UUID(str(run.id)), Cancelling(message="the flow was stopped"), force=True)
                    return Cancelled(message="the flow was stopped")
                time.sleep(LOOK_EVERY)

    def _fetched(self, runner: Runner, step: Step) -> State:
        with self._turn:
            state = runner.run(Step(stage=step.stage, run=True, pull=True, only_restored=True, reason=step.reason))
        if state.is_completed() and state.name != "Cached":
            return Completed(message=f"ran on a worker of the pool {step.stage.hints.pool}")
        return state


def remote(root: Path) -> str:
    """The git remote by which workspaces meet: origin, or the first one."""
    names = commands.git(root, "remote").split()
    return "origin" if "origin" in names else names[0]
