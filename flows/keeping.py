"""One flow at a time in a workspace, and what a killed one left in Prefect's records."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, StateType, TaskRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.runtime import flow_run
from prefect.states import Cancelling, Crashed, Scheduled

from flows.errors import WrongUse

UNFINISHED = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
STARTING = timedelta(seconds=120)  # that a flow run may take from its worker's hand to its first line
PAGE = 200  # runs in one answer of the server


@contextlib.contextmanager
def alone(root: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the only right to run a flow in a workspace, which ends with this process.

    DVC knows its writers by process ids of one host, so a workspace has one flow. Where another runs: wait for its end,
    or raise WrongUse.
    """
    path = root / ".dvc" / "tmp" / "flow.lock"
    if not path.parent.parent.is_dir():
        raise WrongUse(f"{root}: no DVC project (there is no folder .dvc); name another one with --root")
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise WrongUse(
                f"{root}: a flow runs there already (process {file.read().strip() or 'unknown'}); wait for its end, or "
                "try other params at the same time as an experiment (--set)"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def workspace(root: Path) -> str:
    """The tag of every flow run that worked in a folder of this host."""
    return f"workspace:{socket.gethostname()}:{root}"


def begin(root: Path) -> None:
    """Mark this flow run as one of a workspace, and end the records of those before it that were killed.

    Asked while the workspace is held (``alone``): then no other run of it lives. What a killed flow had placed on other
    hosts is cancelled there.
    """
    run = UUID(str(flow_run.id))
    with get_client(sync_client=True) as client:
        tags = client.read_flow_run(run).tags
        client.update_flow_run(run, tags=[*tags, workspace(root)])
        mend(client, root, alive=run)


def mend(client: SyncPrefectClient, root: Path, alive: UUID | None = None) -> None:
    """End the records of flows that were killed in a workspace, which is held, all but that of a run that lives."""
    for dead in _unfinished(client, workspace(root)):
        if dead.id != alive:
            for task in _tasks(client, dead.id):
                _cancel_children(client, task.id)
                client.set_task_run_state(task.id, Crashed(message="the flow's process was killed"), force=True)
            client.set_flow_run_state(dead.id, Crashed(message="its process was killed"), force=True)


def submit_again(client: SyncPrefectClient, pool: str) -> None:
    """Schedule flow runs of a pool anew that a worker took and never started: it was killed in between."""
    taken = FlowRunFilter.model_validate({"state": {"type": {"any_": [StateType.PENDING]}}})
    of_pool = WorkPoolFilter.model_validate({"name": {"any_": [pool]}})
    for run in client.read_flow_runs(flow_run_filter=taken, work_pool_filter=of_pool, limit=PAGE):
        if run.state is not None and datetime.now(UTC) - run.state.timestamp > STARTING:
            again = Scheduled(message="the worker that took it did not start it")
            client.set_flow_run_state(run.id, again, force=True)


def _unfinished(client: SyncPrefectClient, tag: str) -> list[FlowRun]:
    wanted = FlowRunFilter.model_validate({"tags": {"all_": [tag]}, "state": {"type": {"any_": UNFINISHED}}})
    return client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.START_TIME_DESC, limit=PAGE)


def _tasks(client: SyncPrefectClient, run: UUID) -> list[TaskRun]:
    wanted = TaskRunFilter.model_validate({"flow_run_id": {"any_": [run]}, "state": {"type": {"any_": UNFINISHED}}})
    return client.read_task_runs(task_run_filter=wanted, limit=PAGE)


def _cancel_children(client: SyncPrefectClient, task: UUID) -> None:
    wanted = FlowRunFilter.model_validate(
        {"parent_task_run_id": {"any_": [task]}, "state": {"type": {"any_": [*UNFINISHED, StateType.SCHEDULED]}}}
    )
    for child in client.read_flow_runs(flow_run_filter=wanted, limit=PAGE):
        client.set_flow_run_state(child.id, Cancelling(message="the flow that placed it was killed"), force=True)
