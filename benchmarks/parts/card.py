"""A GPU that is made smaller: the allocator gets no more than a card of some size has, and the most of it is seen."""

import contextlib
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmarks import Frame
from frostline.errors import FrostlineError

NO_GPU = "no GPU here"
GB = 10**9


@dataclass
class Used:
    """What was done on a card."""

    what: str  # of the figure's note: sizes and settings
    steps: int = 0
    seconds: float = 0.0  # of all these steps


def device(frame: Frame) -> torch.device:
    """Where to compute: on the CPU where it is a rehearsal of the rehearsal."""
    return torch.device("cpu" if frame.quick else "cuda")


@contextlib.contextmanager
def of(frame: Frame, figure: str, size: int, what: str) -> Iterator[Used]:
    """Record the most memory that the block takes on a card of ``size`` GB, with what it says of its seconds.

    A block that runs out of memory is recorded as one that did not complete.
    """
    used, unit, peak = Used(what), "GB", 0.0
    if not frame.quick:
        _limit(size)
    try:
        yield used
        peak = 0.0 if frame.quick else torch.cuda.max_memory_allocated() / GB
    except (torch.OutOfMemoryError, FrostlineError) as error:
        frame.not_run(figure, size, "<=", unit=unit, reason=f"did not complete on {size} GB: {error}")
        return
    finally:
        if not frame.quick:
            torch.cuda.set_per_process_memory_fraction(1.0)
    each = used.seconds / max(1, used.steps)
    note = f"{used.what}; {used.steps} steps in {used.seconds:.1f} s, {each:.3f} s each; random weights"
    frame.record(figure, peak, size, "<=", unit=unit, n=used.steps, spread="", note=note)


def absent(frame: Frame, figure: str, size: int) -> bool:
    """Whether there is no GPU of this size, which is then recorded."""
    if frame.quick:
        return False
    if not torch.cuda.is_available():
        frame.not_run(figure, size, "<=", unit="GB", reason=NO_GPU)
        return True
    there = torch.cuda.get_device_properties(0).total_memory / GB
    if there < size:
        frame.not_run(figure, size, "<=", unit="GB", reason=f"the GPU here has {there:.0f} GB")
    return there < size


def settled(place: torch.device) -> float:
    """The time when all that was asked of a device is done."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    return time.perf_counter()


def _limit(size: int) -> None:
    gc.collect()  # what was there before: networks refer to themselves
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(size * GB / torch.cuda.get_device_properties(0).total_memory)
    torch.cuda.reset_peak_memory_stats()
