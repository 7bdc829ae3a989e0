"""Reading from a store that is as far away as one in a data centre: ways in turn, in one process."""

import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import Frame
from benchmarks.parts import far_store, in_turn, latent_rows, scratch, synthetic_cache
from benchmarks.parts.far_store import AWAY
from benchmarks.parts.in_turn import Cost
from benchmarks.parts.synthetic_cache import IMAGES, Kind
from frostline import digests, storage
from frostline.dataset import Dataset
from frostline.params.stores import StoreParams
from frostline.storage import ahead, connection
from frostline.storage import remote as objects
from frostline.store.far import Remote

BATCH = 16
PROMISED = {"far_ranges": 3, "far_rows": 3, "far_rows_again": 0.3}


class Size(NamedTuple):
    """How much is read."""

    megabytes: int  # of one object
    kind: Kind
    rows: int  # in one part
    asked: int  # of them
    rounds: int


FULL = Size(64, IMAGES, 256, 16, 3)
QUICK = Size(9, latent_rows.SMALL, 32, 8, 1)


def measure(frame: Frame) -> None:
    """Measure and record both; without a server they are not run."""
    size = QUICK if frame.quick else FULL
    with scratch.folder(frame) as folder, far_store.opened(folder) as address:
        if address is not None:
            _ranges(frame, size, folder, address)
            _rows(frame, size, folder, address)
            return
    for name in ("far_ranges", "far_rows", "far_rows_again"):
        frame.not_run(name, PROMISED[name], ">=", unit="times", reason=far_store.NO_SERVER)


def _ranges(frame: Frame, size: Size, folder: Path, address: str) -> None:
    """How long one object takes."""
    path = folder / "object"
    path.write_bytes(os.urandom(size.megabytes << 20))
    storage.publish([], address, last=storage.Sending(path=str(path), name="object", digest=digests.of_file(path)))
    entry = storage.blob(address, "object")
    ways = {
        "ranges": lambda: storage.reader(entry).fill([(0, memoryview(bytearray(entry.size)))]),
        "stream": lambda: connection.run(objects.get(entry, 0, memoryview(bytearray(entry.size)))),
        "s3fs": lambda: _s3fs(entry.path, [(0, entry.size)]),
    }
    found = in_turn.rounds(_timed(ways), size.rounds, warm=0)
    times = {name: _walls(costs) for name, costs in found.items()}
    ratios = sorted(one.wall / other.wall for one, other in zip(found["stream"], found["ranges"], strict=True))
    frame.record(
        "far_ranges",
        float(np.median(ratios)),
        PROMISED["far_ranges"],
        ">=",
        unit="times one stream",
        n=size.rounds,
        spread=f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        note=f"{size.megabytes} MiB, {AWAY}: ranges of 8 MiB at once {times['ranges']}, one stream {times['stream']}, "
        f"s3fs as it is {times['s3fs']}",
    )


def _rows(frame: Frame, size: Size, folder: Path, address: str) -> None:
    """How long the rows of a cache take, from the store and from the disk."""
    index, near = synthetic_cache.make(folder, size.kind, rows=size.rows, part=size.rows)
    far = far_store.moved(near, folder / "far", f"{address}/{synthetic_cache.NAME}")
    kept = StoreParams(address=None, blocks=str(folder / "blocks"), gigabytes=10)
    local, single = Dataset(index, near), Dataset(index, far)
    order = random.Random(0).sample(range(len(local)), size.asked)  # noqa: S311 - an order
    payload = _total(local, order)

    def rows_alone() -> None:
        ahead.clear()
        _read(Dataset(index, far), order)

    def cold() -> None:
        shutil.rmtree(folder / "blocks", ignore_errors=True)
        _read(Dataset(index, far, kept), order)

    ways: dict[str, Callable[[], object]] = {
        "single": rows_alone,
        "cold": cold,
        "s3fs": lambda: _s3fs_rows(single, order),
    }
    found = in_turn.rounds(_timed(ways), size.rounds, warm=0)
    warm = Dataset(index, far, kept)
    again = in_turn.rounds(
        _timed({"local": lambda: _read(local, order), "warm": lambda: _read(warm, order)}), size.rounds, warm=2
    )
    times = {name: _walls(costs) for name, costs in (found | again).items()}
    ratios = sorted(one.wall / other.wall for one, other in zip(found["s3fs"], found["single"], strict=True))
    frame.record(
        "far_rows",
        float(np.median(ratios)),
        PROMISED["far_rows"],
        ">=",
        unit="times s3fs as it is",
        n=size.rounds,
        spread=f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        note=f"{len(order)} of {size.rows} rows, {payload / 1e6:.0f} MB with their texts, in random order, {AWAY}, "
        "opening included: "
        f"batches of {BATCH} with nothing kept {times['single']}, by way of blocks, none of them there yet, "
        f"{times['cold']}; s3fs, row by row {times['s3fs']}",
    )
    ratio = in_turn.ratio(again["local"], again["warm"])
    frame.record(
        "far_rows_again",
        ratio.median,
        PROMISED["far_rows_again"],
        ">=",
        unit="of local reading, CPU",
        n=size.rounds,
        spread=str(ratio),
        note=f"the same rows from blocks on the disk, each compared with its digest: {times['warm']}; "
        f"the cache in local files, one in 64 compared: {times['local']}",
    )


def _read(dataset: Dataset, order: list[int]) -> None:
    for start in range(0, len(order), BATCH):
        dataset.read(order[start : start + BATCH])


def _total(dataset: Dataset, order: list[int]) -> int:
    return sum(len(dataset.read([row]).data) for row in order)


def _s3fs_rows(dataset: Dataset, order: list[int]) -> None:
    """The same bytes of the same objects, as somebody would read them who opens files with s3fs."""
    [source] = dataset.sources
    opened: dict[str, Any] = {}
    for row in order:
        number = source.text_number(row)
        for parts, first, count in (
            (source._parts, row, 1),
            (source.texts._parts, int(source.texts.starts[number]), int(source.texts.lengths[number])),
        ):
            payload, start = parts._payload(first)
            assert isinstance(payload, Remote)
            _s3fs(payload.entry.path, list(payload.pieces.ranges(start, count)), opened)


def _s3fs(path: str, wanted: list[tuple[int, int]], opened: dict[str, Any] | None = None) -> None:
    import s3fs

    files_of = {} if opened is None else opened
    if path not in files_of:
        files_of[path] = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"]).open(path, "rb")
    for place, length in wanted:
        files_of[path].seek(place)
        assert len(files_of[path].read(length)) == length


def _timed(ways: Mapping[str, Callable[[], object]]) -> dict[str, Callable[[int], Cost]]:
    return {name: lambda _, way=way: in_turn.cost(way) for name, way in ways.items()}


def _walls(costs: list[Cost]) -> str:
    found = sorted(cost.wall for cost in costs)
    return f"{found[0]:.2f} to {found[-1]:.2f} s"
