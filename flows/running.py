"""One stage of a plan: its DVC process, from the start to the state that says what happened."""

import contextlib
import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.concurrency.sync import concurrency
from prefect.states import Cancelled, Completed

from flows import artifacts, devices, graph, process

PREEMPTIONS = 20  # times a stage may say "preempted, run me again" before that counts as a failure
TIMED_OUT = "stopped after its time limit of"
PREEMPTED = re.compile(r"exited with 75\b")  # how DVC reports the exit code of a stage
RESTORED = "is cached - skipping run, checking out outputs"
RUNS = "Running stage '"
UNCHANGED = "didn't change, skipping"
GPU = "gpu"  # the concurrency limit whose slots are GPUs
LEASE = 60.0  # seconds after which the slots of a holder that was killed are free again; the least that Prefect takes
ASKING, ASK_AGAIN = 10.0, 1.0  # seconds that a slot may take which is free, and between two looks for one


class StageFailed(RuntimeError):
    """A stage ended with an error; the message holds its last lines."""


class Stopped(RuntimeError):
    """The flow was stopped before the stage began."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What will be done about one stage: ``run`` it or leave it; ``force``: DVC does not ask whether it changed."""

    stage: graph.Stage
    run: bool
    force: bool = False
    pull: bool = False  # what is missing comes from the remote
    only_restored: bool = False  # a worker has done it: to run it here would be a mistake
    reason: str


class Runner:
    """Runs steps in one project; its processes end with this one, and are asked to save when it is stopped."""

    def __init__(self, root: Path, jobs: int = 1) -> None:
        """``jobs``: stages at a time."""
        self.root = root
        self._jobs = threading.BoundedSemaphore(jobs)
        self.stopped = False
        self._running: set[process.Process] = set()
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Ask every running stage to save and end; nothing new is started."""
        with self._lock:
            self.stopped = True
            for running in self._running:
                running.stop()

    @contextlib.contextmanager
    def signals_forwarded(self) -> Iterator[None]:
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

    def run(self, step: Step) -> State:
        """Do one step; the state says what happened. Preempted stages are run again, they go on where they were."""
        if not step.run:
            return Completed(name="Cached", message=step.reason)
        before = artifacts.metrics(step.stage, self.root)
        try:
            state = self._on_devices(step)
        except Stopped:
            return Cancelled(message="the flow was stopped before the stage began")
        if state.is_completed():
            artifacts.show_metrics(step.stage, before, artifacts.metrics(step.stage, self.root))
            artifacts.show_pictures(step.stage, self.root)
            artifacts.show_runs(step.stage, self.root)
        return state

    def _on_devices(self, step: Step) -> State:
        gpus = 0 if step.only_restored else step.stage.hints.gpus
        with self._jobs, self._slots(gpus), devices.held(gpus) as settings:
            return self._until_done(step, settings)

    @contextlib.contextmanager
    def _slots(self, count: int) -> Iterator[None]:
        """Hold slots of the limit "gpu"; raises Stopped if the flow is stopped while it waits for them."""
        if not count:
            yield
            return
        # A training goes on when the server is away for longer than the lease: its GPU is held by a lock.
        lasting: dict[str, Any] = {"lease_duration": LEASE, "raise_on_lease_renewal_failure": False}
        with contextlib.ExitStack() as stack:
            while True:
                self._wait_for_slots(count)
                with contextlib.suppress(TimeoutError):  # another one was faster
                    stack.enter_context(concurrency(GPU, occupy=count, timeout_seconds=ASKING, strict=True, **lasting))
                    break
            yield

    def _wait_for_slots(self, count: int) -> None:
        with get_client(sync_client=True) as client:
            while True:
                if self.stopped:
                    raise Stopped
                limit = client.read_global_concurrency_limit_by_name(GPU)
                if limit.limit < count:
                    raise StageFailed(
                        f"meta.prefect.gpus: {count} in dvc.yaml, and the server's limit {GPU!r} has {limit.limit}; "
                        f"`python -m flows.schedule --gpus {count}` makes more"
                    )
                if limit.active_slots + count <= limit.limit:
                    return
                time.sleep(ASK_AGAIN)

    def _until_done(self, step: Step, settings: dict[str, str]) -> State:
        preemptions = 0
        while True:
            code, tail = self._repro(step, settings)
            if code == 0:
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

    def _repro(self, step: Step, settings: dict[str, str]) -> tuple[int, list[str]]:
        """One DVC process for one stage; returns its exit code and last lines."""
        logger, tail = get_run_logger(), deque[str](maxlen=process.TAIL)
        with (
            self._started(step, settings) as running,
            _time_limit(running, step.stage.hints.timeout) as limit,
            artifacts.progress(step.stage, self.root) as whole,
        ):
            for line in running.lines():
                tail.append(line)
                logger.info(line)
                if step.only_restored and line.startswith(RUNS):
                    running.stop()
                    raise StageFailed(f"{step.stage.address}: the result of its worker is not in the DVC remote")
            code = running.wait()
            if code == 0:
                whole.set()
            if code and limit.is_set():
                tail.append(f"{TIMED_OUT} {step.stage.hints.timeout:g} s")
            return code, list(tail)

    @contextlib.contextmanager
    def _started(self, step: Step, settings: dict[str, str]) -> Iterator[process.Process]:
        with self._lock:
            if self.stopped:
                raise Stopped
            running = process.Process(command(step), self.root, settings)
            self._running.add(running)
        try:
            yield running
        finally:
            self._running.discard(running)


def command(step: Step) -> list[str]:
    """The DVC process of a step.

    --single-item and one process per stage: parallel runs of the graph lock each other out. --wait-for-lock: otherwise
    a finished stage fails, and its work is lost, while another one hashes for more than 3 seconds.
    """
    words = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", step.stage.address]
    return words + ["--force"] * step.force + ["--pull"] * step.pull


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
