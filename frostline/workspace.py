"""Where a stage works, what it may touch at the same time as others, and the settings that fix its bits."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from frostline.errors import Preempted, Refused

WORK = Path(".work")
INSTRUCTION_SET = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2"}
THREADS = "1"  # where params set no other: two on a busy machine wait for each other
WAITING = {"GOMP_SPINCOUNT": "1000"}  # turns a thread waits in before it sleeps; by default for milliseconds
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
KEPT = 1 << 30  # bytes


def settle() -> None:
    """Fix instruction set and thread count before torch is loaded, and keep every library quiet and offline.

    On CPU the bits of a result depend on both (docs/determinism.md). A variable that is already set stays.
    """
    threads = {"OMP_NUM_THREADS": THREADS, "MKL_NUM_THREADS": THREADS}
    for name, value in {**INSTRUCTION_SET, **QUIET, **threads, **WAITING}.items():
        os.environ.setdefault(name, value)


def die_with_parent() -> None:
    """On Linux, end this process when the one that started it ends: a killed `dvc repro` leaves no writer behind."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def keep_memory() -> None:
    """With glibc, keep up to a GiB of memory that is freed, for those who ask next.

    Pieces of 32 MiB and more go back to the system at once by default, and are zeroed page by page when a step asks for
    them again: a tenth to a quarter of a CPU's time where latents are that large.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # other systems keep what they keep
        allocator = ctypes.CDLL(None)
        allocator.mallopt(M_MMAP_THRESHOLD, KEPT)
        allocator.mallopt(M_TRIM_THRESHOLD, KEPT)


@contextlib.contextmanager
def lock(output: str | Path) -> Iterator[None]:
    """Hold the only right to write one output; raises Refused naming the output if another process holds it."""
    name = str(Path(output)).strip("/").replace("/", "_")
    path = WORK / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                f"{output}: another process is writing it; wait for that process to end, then run again"
            ) from None
        yield


def work_folder(stage: str, key: str) -> Path:
    """The folder of a stage's work in progress under one digest of its inputs; folders of other keys are removed.

    The same inputs find what a killed run finished; changed inputs start with an empty folder.
    """
    folder = WORK / stage / key
    if folder.parent.exists():
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    for half_written in list(folder.rglob(".*")):
        if half_written.name == ".metadata":  # of torch's checkpoints: part of a whole one, or gone with its folder
            continue
        if half_written.is_dir():
            shutil.rmtree(half_written)
        else:
            half_written.unlink(missing_ok=True)
    return folder


def publish(folder: Path, output: str | Path) -> None:
    """Move a finished work folder to where a stage's output belongs, in the place of what stood there."""
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.exists():
        shutil.rmtree(output)
    shutil.move(folder, output)


class Preemption:
    """Turns SIGTERM into a flag that a loop asks for between steps, as long as it is entered.

    Afterwards SIGTERM means what it did before: a process forked later must still be ended by it.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Preemption":
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _ask(self, *_: object) -> None:
        self.asked = True

    def stop_if_asked(self, saved: str) -> None:
        """Raise Preempted once the signal has come; ``saved`` says where the progress lies."""
        if self.asked:
            raise Preempted(f"stopped by SIGTERM; progress is in {saved}: run the same command again to go on")
