"""Run the stages of a DVC project as Prefect tasks: plan once, then one task and one DVC process per stage.

`dvc repro` gives the same result without Prefect. DVC stays the judge of what runs: Prefect caches nothing.
"""

import contextlib
import json
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed

from flows import graph, process, verify

PREEMPTIONS = 20  # times a stage may say "preempted, run me again" before that counts as a failure
TIMED_OUT = "stopped after its time limit of"
PREEMPTED = re.compile(r"exited with 75\b")  # how DVC reports the exit code of a stage
RESTORED = "is cached - skipping run, checking out outputs"
UNCHANGED = "didn't change, skipping"


class StageFailed(RuntimeError):
    """A stage ended with an error; the message holds its last lines."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What will be done about one stage: ``run`` it or leave it; ``force``: DVC does not ask whether it changed."""

    stage: graph.Stage
    run: bool
    force: bool = False
    reason: str


class DvcOrchestrator:
    """Plans and runs one DVC project. Its running processes end with it, and are asked to save when it is stopped."""

    def __init__(self, root: str | Path = ".") -> None:
        self.root = Path(root).resolve()
        self.stopped = False
        self._running: set[process.Process] = set()
        self._lock = threading.Lock()

    def plan(self) -> tuple[Step, ...]:
        """What has to be done, upstream first; nothing is started but the stages' own ``verify`` commands."""
        return tuple(self._step(stage) for stage in graph.read(self.root))

    def run(self, plan: Sequence[Step]) -> dict[str, State]:
        """Run a plan inside a flow and wait for its end: the final state of every stage's task.

        Completed ("Cached" if unchanged, "Restored" if DVC had the result), Failed, or NotReady when something
        upstream failed. SIGTERM and Ctrl-C reach the stages, which save their work.
        """
        futures: dict[str, PrefectFuture[State]] = {}
        with self._signals_forwarded():
            for step in plan:
                upstream = [futures[address] for address in step.stage.upstream]
                futures[step.stage.address] = self._task(step, upstream)
            for future in futures.values():
                future.wait()
        states = {address: future.state for address, future in futures.items()}
        create_markdown_artifact(key="stages", markdown=summary(plan, states), description="what each stage did")
        return states

    def stop(self) -> None:
        """Ask every running stage to save and end; nothing new is started."""
        with self._lock:
            self.stopped = True
            for running in self._running:
                running.stop()

    def _step(self, stage: graph.Stage) -> Step:
        if stage.changed:
            return Step(stage=stage, run=True, reason="changed, or something upstream of it")
        if not verify.stands(stage, self.root):
            return Step(stage=stage, run=True, force=True, reason="what it made outside DVC is gone")
        return Step(stage=stage, run=False, reason="unchanged since dvc.lock")

    def _task(self, step: Step, upstream: list[PrefectFuture[State]]) -> PrefectFuture[State]:
        retries = step.stage.hints.retries

        @task(
            name=step.stage.address,
            task_run_name=step.stage.address,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=retries,
            retry_delay_seconds=1,
        )
        def stage() -> State:
            return self._execute(step)

        return stage.submit(return_state=False, wait_for=upstream)

    def _execute(self, step: Step) -> State:
        """Do one step; the state says what happened. Preempted stages are run again, they go on where they were."""
        if not step.run:
            return Completed(name="Cached", message=step.reason)
        preemptions = 0
        while True:
            code, tail = self._repro(step)
            if code == 0:
                self._show_metrics(step.stage)
                return _completed(tail)
            if tail and tail[-1].startswith(TIMED_OUT):
                raise StageFailed(f"{step.stage.address}: {tail[-1]}; raise meta.prefect.timeout in dvc.yaml")
            if self.stopped:
                return Cancelled(message="the flow was stopped; what the stage has saved is kept")
            preemptions += 1
            if preemptions > PREEMPTIONS or not any(PREEMPTED.search(line) for line in tail):
                words = "\n".join(tail)
                raise StageFailed(f"{step.stage.address} ended with exit code {code}; its last lines:\n{words}")
            get_run_logger().warning("preempted: running it again")

    def _repro(self, step: Step) -> tuple[int, list[str]]:
        """One DVC process for one stage; returns its exit code and last lines."""
        logger, tail = get_run_logger(), deque[str](maxlen=process.TAIL)
        with self._started(step) as running, _time_limit(running, step.stage.hints.timeout) as limit:
            for line in running.lines():
                tail.append(line)
                logger.info(line)
            code = running.wait()
            if code and limit.is_set():
                tail.append(f"{TIMED_OUT} {step.stage.hints.timeout:g} s")
            return code, list(tail)

    @contextlib.contextmanager
    def _started(self, step: Step) -> Iterator[process.Process]:
        # --single-item and one process per stage: parallel runs of the graph lock each other out. --wait-for-lock:
        # otherwise a finished stage fails, and its work is lost, while another one hashes for more than 3 seconds.
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", step.stage.address]
        with self._lock:
            if self.stopped:
                raise StageFailed(f"{step.stage.address} was not started: the flow was stopped")
            running = process.Process(command + ["--force"] * step.force, self.root)
            self._running.add(running)
        try:
            yield running
        finally:
            self._running.discard(running)

    @contextlib.contextmanager
    def _signals_forwarded(self) -> Iterator[None]:
        """While stages run, SIGTERM and Ctrl-C stop them in order instead of ending this process on the spot."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            signal.signal(number, lambda *_: threading.Thread(target=self.stop).start())
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _show_metrics(self, stage: graph.Stage) -> None:
        """The metrics files a stage declares in dvc.yaml, as artifacts of its task run."""
        for path in stage.metrics:
            key = re.sub(r"[^a-z0-9]+", "-", f"{stage.address}-{path.stem}".lower()).strip("-")
            text = json.dumps(json.loads(path.read_text()), indent=2) if path.suffix == ".json" else path.read_text()
            name = str(path.relative_to(self.root))
            create_markdown_artifact(key=key, markdown=f"```\n{text}\n```", description=name)


def summary(plan: Sequence[Step], states: dict[str, State]) -> str:
    """A markdown table: stage, state, reason."""
    rows = [f"| {step.stage.address} | {states[step.stage.address].name} | {step.reason} |" for step in plan]
    return "\n".join(["| stage | state | why |", "|---|---|---|", *rows])


def _completed(tail: Sequence[str]) -> State:
    text = "\n".join(tail)
    if RESTORED in text:
        return Completed(name="Restored", message="DVC had the result of the same inputs")
    if UNCHANGED in text:
        return Completed(name="Cached", message="unchanged when its turn came")
    return Completed(message="ran")


@contextlib.contextmanager
def _time_limit(running: process.Process, seconds: float | None) -> Iterator[threading.Event]:
    """Stop the process once ``seconds`` have passed; the event says whether they have."""
    passed = threading.Event()
    if seconds is None:
        yield passed
        return

    def stop() -> None:
        passed.set()
        running.stop()

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        yield passed
    finally:
        timer.cancel()
