"""What is said when a training cannot go on: losses that are no numbers, and memory that does not suffice."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from frostline.errors import FrostlineError
from frostline.job import Job
from frostline.params.trainings import AnyShare, BucketShare, LoopParams, StudentParams, TunedParams

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) ?(bytes|KiB|MiB|GiB)")
FREE = re.compile(r"([\d.]+) (KiB|MiB|GiB) is free")
CPU = "DefaultCPUAllocator"  # stands in torch's message when the system gives no memory


def not_finite(job: Job, step: int, rows: Sequence[int], losses: Tensor, norm: Tensor, newest: Path | None) -> str:
    """What is wrong with a step: its loss and gradient, its rows, and where to go on from."""
    ids = job.dataset.ids("id")
    wrong = [row for row, good in zip(rows, torch.isfinite(losses).tolist(), strict=True) if not good]
    found = f"loss of step {step} is {losses.mean().item()}"
    if not wrong:
        found = f"gradient of step {step} has the norm {norm.item()} where the loss is {losses.mean().item():.4g}"
    return (
        f"{job.name}: the {found}; its rows are {[ids[row] for row in wrong or rows]}. "
        f"The last good checkpoint is {newest or 'none: there was none yet'}. Lower the rates in optimizer, look at "
        "these items, or let skip_nonfinite leave out so many batches"
    )


@contextlib.contextmanager
def memory_explained(job: Job) -> Iterator[None]:
    """Turn torch's error for memory that does not suffice into one that says by how much, and what to lower."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError) and CPU not in str(error):
            raise
        raise FrostlineError(f"{job.name}: out of memory{_missed_by(str(error))}: {_remedy(job)}") from error


def _missed_by(message: str) -> str:
    asked, free = ASKED.search(message), FREE.search(message)
    if asked is None:
        return ""
    more = _bytes(asked)
    if free is None:
        return f" ({_size(more)} more were asked for)"
    return f" by {_size(more - _bytes(free))} ({_size(more)} asked for, {_size(_bytes(free))} free)"


def _bytes(found: re.Match[str]) -> float:
    return float(found[1]) * UNITS.get(found[2], 1)


def _size(size: float) -> str:
    return f"{size / UNITS['GiB']:.2f} GiB"


def _remedy(job: Job) -> str:
    compute, buckets = job.params.compute, job.buckets
    largest = max(buckets, key=lambda name: _positions(name) * buckets[name].batch)
    steps: list[str] = []
    if not compute.recompute:
        steps.append("set compute.recompute: true (activations are made again)")
    if compute.accumulate * job.team.world < buckets[largest].batch:
        steps.append(f"raise compute.accumulate (now {compute.accumulate}): the same step in more parts")
    steps += _of_frozen(job.params)
    if job.params.optimizer.state_bits is None:
        steps.append("set optimizer.state_bits: 8 (AdamW's means in a quarter of the memory, near the same steps)")
    steps.append(f"lower buckets.{largest}.{_given(job.params.buckets[largest])}")
    if job.team.mesh is not None:
        steps.append(f"or use more GPUs (now {job.team.world}): each then holds less of weights and optimiser")
    return "; ".join(steps)


def _of_frozen(params: LoopParams) -> list[str]:
    """What can be done about weights that are not trained, where there are any."""
    if isinstance(params, StudentParams) and not params.offload_teacher:
        return ["set offload_teacher: true (the teacher's weights wait in the host's memory)"]
    if not isinstance(params, TunedParams) or params.adapter is None:
        return []
    found: list[str] = []
    if not params.adapter.offload:
        found.append("set adapter.offload: true (frozen weights wait in the host's memory)")
    if params.adapter.frozen_dtype is None:
        found.append("set adapter.frozen_dtype: float8_e4m3fn (frozen weights in 8 bits, rounded)")
    return found


def _given(share: AnyShare) -> str:
    return f"batch (now {share.batch})" if isinstance(share, BucketShare) else f"tokens (now {share.tokens})"


def _positions(bucket: str) -> int:
    frames, height, width = map(int, bucket.split("x"))
    return frames * height * width
