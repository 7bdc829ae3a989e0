"""Kills of the flow, its worker and its server at random moments, and what is left behind.

A trial: start a forced run of a toy project (by the worker, or typed), send SIGTERM or SIGKILL to one part after a
random time, look for processes that outlive it, start again what was killed, run once more, compare the bytes.
"""

import contextlib
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.parts import served
from benchmarks.parts.served import Served
from tests import toy_project

GRACE = 5.0  # seconds that whatever was started may live on after SIGKILL of its owner
SAVING = 45.0  # and after SIGTERM, in which stages save
LONGEST = 9.0  # seconds of a run in which the moment lies
LEASE = 75.0  # seconds after which a slot must be free: the lease, and the server's look at it
BUSY = 503  # what a server says whose database is at work
OUTPUTS = ("dvc.lock", "source.txt", "left.txt", "right.txt", "score.json")


@dataclass
class Found:
    """What went wrong, by kind."""

    trials: int = 0
    orphans: list[str] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def campaign(folder: Path, trials: int, seed: int) -> Found:
    """So many trials, parts and signals in turn."""
    project = toy_project.make(folder / "toy", params="text: a\nseconds: 1.5\n")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what is in its background without it
    rng, found = random.Random(seed), Found()  # noqa: S311
    with served.serving(project) as parts:
        parts.run("-m", "flows.pipeline", "--jobs", "2")
        wanted = _bytes(project)
        turns = [(part, number) for number in (signal.SIGKILL, signal.SIGTERM) for part in served.PARTS]
        with contextlib.suppress(KeyboardInterrupt):  # who cannot wait gets as many trials as there were
            for trial in range(trials):
                part, number = turns[trial % len(turns)]
                name = f"{trial}: {number.name} of the {part}"
                _trial(parts, part, number, rng.uniform(0.0, LONGEST), name, found)
                if _bytes(project) != wanted:
                    found.differing.append(name)
                found.trials += 1
                print(f"  {name}: {found}", flush=True)
    return found


def _trial(parts: Served, part: str, number: signal.Signals, moment: float, name: str, found: Found) -> None:
    if part == "flow":
        parts.start_flow("--force", "--jobs", "2")
    else:
        _deployed(parts, {"force": True, "jobs": 2})
    time.sleep(moment)
    started = parts.kill(part, number)
    grace = GRACE if number is signal.SIGKILL else SAVING
    try:
        served.until(lambda: not any(served.alive(one) for one in started), grace)
    except served.Slow:
        left = [one for one in started if served.alive(one)]
        found.orphans.append(f"{name}: {[' '.join(one.cmdline())[:80] for one in left]}")
        for one in left:
            served.with_grace(one)
    if part == "server":
        parts.start_server()
    if part == "worker":
        parts.start_worker()
    if part != "flow":  # what a server or a worker had begun, or had still to begin, goes on once it is back, or ends
        with contextlib.suppress(served.Slow):
            served.until(lambda: not _runs(parts, ["PENDING", "SCHEDULED", "RUNNING"]), 240)
    _settled(parts, name, found)


def _settled(parts: Served, name: str, found: Found) -> None:
    """Whatever goes on ends, one more run succeeds, and no record and no slot says otherwise."""
    parts.processes.pop("flow", None)
    try:
        served.until(lambda: not _runs(parts, ["PENDING", "SCHEDULED"]), 240)
        _ended(parts)
    except served.Slow:
        found.unfinished.append(name)
    try:
        parts.run("-m", "flows.pipeline", "--jobs", "2")
    except RuntimeError as error:
        found.unfinished.append(f"{name}: {error}")
    if left := _runs(parts, ["RUNNING", "CANCELLING", "PENDING"]):
        found.running.append(f"{name}: {left}")
    try:
        served.until(lambda: _slots(parts) == 0, LEASE)
    except served.Slow:
        found.slots.append(name)


def _ended(parts: Served) -> None:
    """Wait until no flow holds the workspace: a server that was killed leaves its flow to end by itself."""
    import fcntl

    def free() -> bool:
        with (parts.project / ".dvc" / "tmp" / "flow.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    served.until(free, 120)


def _deployed(parts: Served, parameters: dict[str, object]) -> None:
    found = served.until(lambda: _asked("GET", f"{parts.address}/deployments/name/frostline/pipeline"))["found"]
    address = f"{parts.address}/deployments/{found['id']}/create_flow_run"
    served.until(lambda: httpx.post(address, json={"parameters": parameters}, timeout=60).status_code != BUSY)


def _runs(parts: Served, kinds: list[str]) -> list[str]:
    """Names and states of flow runs that began or are due now; those of schedules lie in the future."""
    wanted = {"flow_runs": {"state": {"type": {"any_": kinds}}, "expected_start_time": {"before_": _now()}}}
    found = served.until(lambda: _asked("POST", f"{parts.address}/flow_runs/filter", wanted))["found"]
    return [f"{run['name']} {run['state_name']}" for run in found]


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _slots(parts: Served) -> int:
    return int(
        served.until(lambda: _asked("GET", f"{parts.address}/v2/concurrency_limits/gpu"))["found"]["active_slots"]
    )


def _asked(method: str, address: str, body: object = None) -> dict[str, Any] | None:
    """What the server says; None while it is busy, or not up."""
    try:
        answer = httpx.request(method, address, json=body, timeout=60)
    except httpx.TransportError:
        return None
    return None if answer.status_code == BUSY else {"found": answer.raise_for_status().json()}


def _bytes(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in OUTPUTS if (project / name).exists()}
