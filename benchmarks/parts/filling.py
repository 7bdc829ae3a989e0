"""What the cache itself costs, encoding apart: rows added to many, and ten times the rows.

Every run is a process of its own that reads a manifest and fills a cache from it with the synthetic codec, as the stage
does with a real one. Its seconds begin with the manifest and end with the sealed cache.
"""

import concurrent.futures
import math
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import Frame
from benchmarks.parts import in_turn, memory, scratch, synthetic_codec
from benchmarks.parts.in_turn import Cost
from benchmarks.parts.synthetic_codec import GROUP
from frostline import caching, files, manifest
from frostline.caching.pool import Pool
from frostline.store.layout import MANIFEST

SOURCE = "synthetic"
LARGER, SMALLER = (64, 128), (32, 32)  # pixels (height, width) of latents of 4 KiB and of 512 bytes
SHARE = 100  # one in so many rows is added


class Size(NamedTuple):
    """How many rows there are, how many times it is done."""

    rows: int
    rounds: int


class Growth(NamedTuple):
    """Numbers of rows: the least, for the memory, and those the exponent is taken over."""

    least: int
    counts: tuple[int, ...]


ADDING, ADDING_QUICK = Size(rows=100_000, rounds=4), Size(rows=2_000, rounds=1)
GROWING, GROWING_QUICK = Growth(1_000, (10_000, 100_000, 1_000_000)), Growth(100, (200, 1_000))


class Filled(NamedTuple):
    """One run."""

    cost: Cost
    peak: int  # bytes of resident memory at most, of the whole process
    before: int  # bytes of it when libraries were loaded and nothing done


def adding(frame: Frame) -> None:
    """The price of one row in a hundred."""
    size = ADDING_QUICK if frame.quick else ADDING
    with scratch.folder(frame) as folder:
        found = [_add(folder / str(number), size.rows, apart=not frame.quick) for number in range(size.rounds)]
    whole, group, spread = ([run[place] for run in found] for place in range(3))
    allowed = [run.filled.cost.cpu / 50 + 2 for run in whole]
    shares = [run.filled.cost.cpu / most for run, most in zip(group, allowed, strict=True)]
    apart = f"; 1 % spread over all groups: {_took(spread)}, {_shares(spread)} of the bytes"
    frame.record(
        "addition_time",
        max(shares),
        1,
        "<=",
        unit="of what is allowed",
        n=size.rows,
        spread=f"{min(shares):.2f} to {max(shares):.2f} over {len(shares)} rounds, the largest counts",
        note=f"CPU seconds (wall) to add 1 % of the rows as one new group: {_took(group)}; allowed are 2 s and 2 % of "
        f"{_took(whole)}{apart}",
    )
    frame.record(
        "addition_bytes",
        max(run.new for run in group),
        0.03,
        "<=",
        unit="of all",
        n=size.rows,
        spread=_shares(group),
        note="bytes of parts that were not there before, over those of all parts; items, captions and text" + apart,
    )


class Added(NamedTuple):
    """A run, and what it wrote that was not there before."""

    filled: Filled
    new: float  # share of the bytes of the cache


def _add(folder: Path, count: int, *, apart: bool) -> tuple[Added, Added, Added]:
    """From nothing, then with a group more, and with as many rows spread over all groups."""
    names = synthetic_codec.names(count)
    more = [f"{count // GROUP // 2:04d}-more/{number:07d}.png" for number in range(count // SHARE)]
    spread = [f"{name.removesuffix('.png')}-more.png" for name in names[::SHARE]]
    whole = _run(folder, names, LARGER, apart=apart)
    other = shutil.copytree(folder, folder.with_name(f"{folder.name}-spread"), copy_function=os.link)
    return whole, _run(folder, names + more, LARGER, apart=apart), _run(other, names + spread, LARGER, apart=apart)


def growing(frame: Frame) -> None:
    """Time and memory of ten times the rows, and ten times those."""
    size = GROWING_QUICK if frame.quick else GROWING
    with scratch.folder(frame) as folder:
        found = {}
        for count in (size.least, *size.counts):
            found[count] = _run(folder / "all", synthetic_codec.names(count), SMALLER, apart=not frame.quick).filled
            shutil.rmtree(folder / "all")
    _exponent(frame, size, found)
    _memory(frame, size, found)


def _exponent(frame: Frame, size: Growth, found: dict[int, Filled]) -> None:
    steps = [_slope(found, low, high) for low, high in zip(size.counts, size.counts[1:], strict=False)]
    frame.record(
        "growth_exponent",
        _slope(found, size.counts[0], size.counts[-1]),
        1.05,
        "<=",
        unit="log/log",
        n=size.counts[-1],
        spread=f"{min(steps):.3f} to {max(steps):.3f} over the steps between, one run each",
        note="CPU seconds over rows of 512 bytes: "
        + ", ".join(f"{count:,} in {found[count].cost.cpu:.1f} s ({found[count].cost.wall:.0f} s)" for count in found)
        + "; wall time in brackets",
    )


def _slope(found: dict[int, Filled], low: int, high: int) -> float:
    return math.log(found[high].cost.cpu / found[low].cost.cpu) / math.log(high / low)


def _memory(frame: Frame, size: Growth, found: dict[int, Filled]) -> None:
    last, first = found[size.counts[-1]], found[size.least]
    each = (last.peak - first.peak) / (size.counts[-1] - size.least)
    frame.record(
        "growth_memory",
        last.peak / first.peak,
        1.1,
        "<=",
        unit="x",
        n=size.counts[-1],
        spread="one run each",
        note=f"peak resident memory with {size.counts[-1]:,} rows over that with {size.least:,}; "
        f"{each:.0f} bytes a row; "
        + ", ".join(f"{count:,}: {run.peak / 2**20:.0f} MiB" for count, run in found.items())
        + f"; libraries alone {first.before / 2**20:.0f} MiB",
    )


def _run(folder: Path, names: Sequence[str], size: tuple[int, int], *, apart: bool) -> Added:
    """Fill a cache from a manifest of these names, in a process of its own if it is measured in earnest."""
    rows = synthetic_codec.rows(names, *size)
    manifest.write_columns(folder / "manifest", rows.parts(), [])
    before = _parts(folder)
    if apart:
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as one:
            filled = one.submit(fill, folder).result()
    else:
        filled = fill(folder)
    after = _parts(folder)
    assert sum(rows for _, rows in after.values()) >= len(names)
    new = sum(size for name, (size, _) in after.items() if name not in before)
    return Added(filled, new / sum(size for size, _ in after.values()))


def _parts(folder: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """The parts of a published cache by name and digest: bytes and rows of each."""
    if not (folder / "cache").exists():
        return {}
    parts = files.read_json(folder / "cache" / MANIFEST)["parts"]
    return {(part["name"], part["digest"]): (part["bytes"], part["rows"]) for part in parts}


def fill(folder: Path) -> Filled:
    """Fill the cache of a folder from its manifest; the peak is that of the whole process."""
    codec, pixels = synthetic_codec.Synthetic(), synthetic_codec.Pictures()
    pool = Pool(folder / "pool", synthetic_codec.SPACE)
    before = memory.resident()
    memory.forget_peak()

    def work() -> None:
        rows = manifest.stored(folder / "manifest")
        caching.write_source(SOURCE, rows, pixels, codec, synthetic_codec.PARAMS, pool, folder / "cache")

    return Filled(in_turn.cost(work), memory.peak(), before)


def _took(runs: Sequence[Added]) -> str:
    return " and ".join(f"{run.filled.cost.cpu:.1f} s ({run.filled.cost.wall:.0f} s)" for run in runs)


def _shares(runs: Sequence[Added]) -> str:
    return " and ".join(f"{run.new:.2%}" for run in runs)
