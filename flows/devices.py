"""GPUs of this host, each for one stage at a time, whatever flow or experiment it belongs to."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flows.errors import WrongUse

AGAIN = 1.0  # seconds between two looks for a free one


def present() -> list[str]:
    """The GPUs that processes of ours see, as CUDA_VISIBLE_DEVICES names them; none without a driver."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in named.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return listed.stdout.split() if listed.returncode == 0 else []


@contextlib.contextmanager
def held(count: int) -> Iterator[dict[str, str]]:
    """The environment of a stage that uses ``count`` GPUs of this host; waits until they are free.

    Empty where there is no GPU, or the stage asks for none: a stage then computes on the CPU as it would alone.
    """
    here = present()
    if not count or not here:
        yield {}
        return
    if count > len(here):
        raise WrongUse(f"meta.prefect.gpus: {count} in dvc.yaml, and this host has {len(here)}: {', '.join(here)}")
    with contextlib.ExitStack() as stack:
        while len(taken := _take(here, count, stack)) < count:
            stack.close()
            time.sleep(AGAIN)
        yield {"CUDA_VISIBLE_DEVICES": ",".join(taken)}


def _take(names: list[str], count: int, stack: contextlib.ExitStack) -> list[str]:
    """As many as are free, at most ``count``; a lock ends with the process that holds it, so none is left behind."""
    taken: list[str] = []
    for name in names:
        if len(taken) == count:
            break
        file = stack.enter_context(_lock_file(name).open("w"))
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken.append(name)
    return taken


def _lock_file(name: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"frostline-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{name.replace('/', '_')}.lock"
