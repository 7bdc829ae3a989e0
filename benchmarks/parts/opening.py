"""A million rows opened: the time until the first can be read, and the memory that knowing them takes."""

import concurrent.futures
import gc
import multiprocessing
from pathlib import Path
from typing import NamedTuple

from benchmarks import Frame
from benchmarks.parts import in_turn, memory, scratch, synthetic_cache
from benchmarks.parts.in_turn import Cost
from benchmarks.parts.synthetic_cache import MANY
from frostline.dataset import Dataset

PART = 1 << 17  # rows
ROWS, QUICK_ROWS = 1_000_000, 2_000
TIMES, QUICK_TIMES = 5, 1


class Opened(NamedTuple):
    """One opening."""

    cost: Cost
    kept: int  # bytes of resident memory that it added


def measure(frame: Frame) -> None:
    """Measure and record both."""
    count = QUICK_ROWS if frame.quick else ROWS
    with scratch.folder(frame) as folder:
        index, latents = synthetic_cache.make(folder, MANY, rows=count, part=PART)
        found = [_open(index, latents, apart=not frame.quick) for _ in range(QUICK_TIMES if frame.quick else TIMES)]
        size = sum(path.stat().st_size for path in latents.rglob("*") if path.is_file())
    seconds, walls = sorted(run.cost.cpu for run in found), sorted(run.cost.wall for run in found)
    kept = sorted(run.kept / 1e6 for run in found)
    frame.record(
        "open_million_rows",
        seconds[-1],
        2.0,
        "<=",
        unit="CPU s",
        n=count,
        spread=f"{seconds[0]:.2f} to {seconds[-1]:.2f} over {len(found)} processes, the longest counts",
        note=f"every part verified by its digest; wall {walls[0]:.2f} to {walls[-1]:.2f} s; {size / 1e9:.2f} GB: rows "
        "of 512 bytes, a caption each, in the page cache",
    )
    frame.record(
        "index_million_rows",
        kept[-1],
        200,
        "<=",
        unit="MB",
        n=count,
        spread=f"{kept[0]:.0f} to {kept[-1]:.0f} over {len(found)} processes, the largest counts",
        note="resident memory after opening over that before",
    )


def _open(index: Path, latents: Path, *, apart: bool) -> Opened:
    if not apart:
        return open_(index, latents)
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as one:
        return one.submit(open_, index, latents).result()


def open_(index: Path, latents: Path) -> Opened:
    """Open a dataset, in a process of its own if memory is measured in earnest."""
    opened: list[Dataset] = []
    before = memory.resident()
    cost = in_turn.cost(lambda: opened.append(Dataset(index, latents)))
    gc.collect()
    return Opened(cost, memory.resident() - before)
