"""The figures of the graph as Prefect runs it, against `dvc repro` on the same graph.

    python -m benchmarks.orchestration [--quick] [--only unchanged miniature overlap graph killed]

unchanged  a pipeline of eight stages in which nothing changed: the flow, after it began, against `dvc repro`, in turn
miniature  all real stages on few digits, in two fresh clones: the same dvc.lock, and how much slower (half an hour)
overlap    two stages that do not need each other on two workers: whether their times overlap
graph      200 stages: how long a plan takes, and whether the server knows a state of each
killed     50 kills of flow, worker and server at random moments: what is left behind (half an hour)
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

import benchmarks
from benchmarks import Frame

DVC = [sys.executable, "-m", "dvc"]
STAGES, MANY = 8, 200
TRIALS, SEED = 50, 0
FEW = {"sources": {"digits": {"draws": [{"frames": frames, "per_scan": 1} for frames in (1, 5, 9)]}}}


def unchanged(frame: Frame) -> None:
    """Seconds of the flow, less twice those of `dvc repro`, where nothing is to be done."""
    from benchmarks.parts import flow_times

    pairs = 1 if frame.quick else 7
    with tempfile.TemporaryDirectory() as folder:
        project = _chain(Path(folder) / "chain", STAGES)
        found = flow_times.unchanged(project, pairs)
    beyond = sorted(flow - 2 * repro for repro, flow in found)
    repros, flows = sorted(one for one, _ in found), sorted(one for _, one in found)
    note = f"{STAGES} stages; dvc repro {repros[0]:.2f} to {repros[-1]:.2f} s, flow {flows[0]:.2f} to {flows[-1]:.2f} s"
    spread = f"{beyond[0]:.2f} to {beyond[-1]:.2f}"
    frame.record("unchanged_beyond", beyond[-1], 3.0, "<=", unit="s", n=pairs, spread=spread, note=f"worst; {note}")


def miniature(frame: Frame) -> None:
    """The same stages by `dvc repro` and by the flow, each in a fresh clone; quick does so with a chain."""
    from benchmarks.parts import flow_times

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if frame.quick:
            pair = [_chain(root / name, 2, ran=False) for name in ("repro", "flow")]
        else:
            pair = [flow_times.clone(root / name, FEW) for name in ("repro", "flow")]
        repro, flow = flow_times.both(*pair)
        same = (pair[0] / "dvc.lock").read_bytes() == (pair[1] / "dvc.lock").read_bytes()
    what = "two stages" if frame.quick else "all stages, preset quick, 1797 digits as 1, 5 and 9 frames"
    frame.record("flow_lock_differs", int(not same), 0, "==", unit="files", n=1, spread="", note=f"dvc.lock; {what}")
    note = f"dvc repro {repro:.0f} s, flow {flow:.0f} s, start of its server included; one after the other"
    late = flow - 1.05 * repro
    frame.record("flow_beyond_repro", late, 15.0, "<=", unit="s", n=1, spread="one run each", note=note)


def overlap(frame: Frame) -> None:
    """Seconds for which two stages on two workers ran at the same time, and whether the lock is right."""
    from benchmarks.parts import two_workers

    with tempfile.TemporaryDirectory() as folder:
        seconds, same = two_workers.measured(Path(folder), seconds=1 if frame.quick else 8)
    note = "stages of 8 s on two workers with clones of their own, a remote in a folder"
    frame.record("workers_overlap", seconds, 1.0, ">=", unit="s", n=1, spread="", note=note)
    frame.record("workers_lock_differs", int(not same), 0, "==", unit="files", n=1, spread="", note="dvc.lock")


def graph(frame: Frame) -> None:
    """A plan of many stages of which none changed, and their states on the server after a run."""
    from benchmarks.parts import flow_times
    from flows import graph as reading

    count = 10 if frame.quick else MANY
    with tempfile.TemporaryDirectory() as folder:
        project = _chain(Path(folder) / "chain", count)
        times = []
        for _ in range(1 if frame.quick else 5):
            started = time.perf_counter()
            assert not any(stage.changed for stage in reading.read(project))
            times.append(time.perf_counter() - started)
        states = flow_times.states(project, count)
    spread = f"{min(times):.2f} to {max(times):.2f}"
    frame.record(
        "plan_200", max(times), 5.0, "<=", unit="s", n=len(times), spread=spread, note=f"worst; {count} stages"
    )
    note = "task runs in the server's API, of which the UI draws the graph"
    frame.record("states_200", states, count, "==", unit="stages", n=1, spread="", note=note)


def killed(frame: Frame) -> None:
    """What fifty kills leave behind."""
    from benchmarks.parts import killing

    with tempfile.TemporaryDirectory() as folder:
        found = killing.campaign(Path(folder), 1 if frame.quick else TRIALS, SEED)
    note = "kills of flow, worker and server at random moments: as many as there was time for"
    frame.record("killed_trials", found.trials, TRIALS, ">=", unit="trials", n=1, spread="", note=note)
    kinds = {
        "killed_orphans": (found.orphans, "processes after 5 s, after SIGTERM 45 s"),
        "killed_slots": (found.slots, "GPU slots held after the lease of 60 s"),
        "killed_running": (found.running, "runs that say Running after the next start"),
        "killed_differing": (found.differing, "runs whose outputs differ from the undisturbed after the next one"),
        "killed_unfinished": (found.unfinished, "runs that the next one did not bring to an end"),
    }
    for figure, (cases, note) in kinds.items():
        spread = "; ".join(cases)[:200]
        frame.record(figure, len(cases), 0, "==", unit="trials", n=found.trials, spread=spread, note=note)


def _chain(folder: Path, count: int, *, ran: bool = True) -> Path:
    """A project of stages of which each copies what the one before made; chains of twenty."""
    folder.mkdir(parents=True)
    subprocess.run([*DVC, "init", "--no-scm", "--quiet"], cwd=folder, check=True)
    (folder / "source.txt").write_text("a\n")
    stages = {
        f"stage{i}": {
            "cmd": f"cp {_before(i)} {i}.txt",
            "deps": [_before(i)],
            "outs": [f"{i}.txt"],
        }
        for i in range(count)
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    if ran:
        subprocess.run([*DVC, "repro", "--quiet"], cwd=folder, check=True)
    return folder


def _before(i: int) -> str:
    return f"{i - 1}.txt" if i % 20 else "source.txt"


PARTS = {"unchanged": unchanged, "miniature": miniature, "overlap": overlap, "graph": graph, "killed": killed}


def main(argv: list[str] | None = None) -> Frame:
    """Run the parts that were asked for."""
    return benchmarks.main("orchestration", PARTS, argv)


if __name__ == "__main__":
    main(sys.argv[1:])
