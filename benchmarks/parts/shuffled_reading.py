"""Rows in shuffled order from the page cache into a batch: ours, the bare system call, and other layouts.

All of them end in the same bytes in the same room, as a collation leaves them. Each is checked once to have put the
right rows there. Files are written just before: how large the pieces are that a page cache holds a file in decides over
the price of a copy (read back from the disk in large reads, the same file took twice as long), so all begin alike.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from benchmarks import Frame
from benchmarks.parts import in_turn, latent_rows, rivals, scratch
from benchmarks.parts.in_turn import Cost
from benchmarks.parts.latent_rows import IMAGE, VIDEO, Batch, Rows
from benchmarks.parts.rivals import Read, Rival
from frostline import digests
from frostline.dataset import Dataset
from frostline.store.layout import EMBEDDING, LATENT

FLOOR_ROUNDS, PEER_ROUNDS, QUICK_ROUNDS = 201, 41, 1
FLOOR = 0.9
TARGETS = {"image": 1.7, "video": 3.0}
OURS, BARE = "ours", "preadv"


class Way(NamedTuple):
    """A way to read, and how many batches are read in a round."""

    read: Read
    batches: int


def floor(frame: Frame) -> None:
    """Ours against the bare system call on the same bytes."""
    for rows in _kinds(frame):
        with scratch.folder(frame) as folder:
            dataset, most = latent_rows.cache(folder, rows), rows.number // rows.batch
            ways = {OURS: Way(_ours(dataset), most), BARE: Way(_bare(dataset), most)}
            costs = _measure(frame, rows, dataset, ways, FLOOR_ROUNDS)
        found = in_turn.ratio(costs[BARE], costs[OURS])
        frame.record(
            f"{rows.name}_rows_against_preadv",
            found.low,
            FLOOR,
            ">=",
            unit="x",
            n=rows.number,
            spread=str(found),
            note=f"CPU seconds of random preadv of the same bytes over ours; {_sizes(rows)}: {_rates(costs)}",
        )


def peers(frame: Frame) -> None:
    """Ours against other layouts."""
    for rows in _kinds(frame):
        with scratch.folder(frame) as folder:
            dataset, most = latent_rows.cache(folder, rows), rows.number // rows.batch
            ways = {OURS: Way(_ours(dataset), most)}
            for rival in rivals.ALL:
                if not rival.absent:
                    ways[rival.figure] = Way(_opened(rival, folder, dataset, rows), min(rival.batches, most))
            costs = _measure(frame, rows, dataset, ways, PEER_ROUNDS)
        for rival in rivals.ALL:
            _record(frame, rows, rival, costs)


def _record(frame: Frame, rows: Rows, rival: Rival, costs: dict[str, list[Cost]]) -> None:
    """Bytes that are mapped by hand are copied once, as by preadv: no more is asked of ours beside them."""
    figure = f"{rows.name}_rows_vs_{rival.figure}"
    target = FLOOR if rival is rivals.MAPPED else TARGETS[rows.name]
    if rival.figure not in costs:
        reason = f"{rival.package} is not installed: {rival.install}"
        frame.not_run(figure, target, ">=", unit="x", reason=reason)
        return
    found = in_turn.ratio(costs[rival.figure], costs[OURS])
    rates = _rates({OURS: costs[OURS], f"{rival.name} ({rival.package} {rival.version})": costs[rival.figure]})
    frame.record(
        figure,
        found.low,
        target,
        ">=",
        unit="x",
        n=rows.number,
        spread=str(found),
        note=f"CPU seconds of the other over ours; {_sizes(rows)}: {rates}",
    )


def _sizes(rows: Rows) -> str:
    return f"latents of {rows.latent >> 10} KiB and texts of {rows.text >> 10} KiB, batches of {rows.batch}"


def _rates(costs: dict[str, list[Cost]]) -> str:
    """Rows a second of each way: by CPU, and in wall time."""
    found = {name: in_turn.mean(taken) for name, taken in costs.items()}
    return ", ".join(
        f"{name} {1 / one.cpu:.4g} rows a CPU second ({1 / one.wall:.4g} wall)" for name, one in found.items()
    )


def _measure(frame: Frame, rows: Rows, dataset: Dataset, ways: dict[str, Way], rounds: int) -> dict[str, list[Cost]]:
    """The costs of a row by each way, round by round."""
    batch, known = latent_rows.room(rows), _known(dataset)
    for name, way in ways.items():
        _check(name, way.read, rows, batch, known)
    turns = {name: _turn(way, rows, batch) for name, way in ways.items()}
    return in_turn.rounds(turns, QUICK_ROUNDS if frame.quick else rounds)


def _turn(way: Way, rows: Rows, batch: Batch) -> Callable[[int], Cost]:
    def turn(number: int) -> Cost:
        order = np.random.default_rng(number).permutation(rows.number).tolist()
        chosen = [order[start : start + rows.batch] for start in range(0, way.batches * rows.batch, rows.batch)]

        def work() -> None:
            for numbers in chosen:
                way.read(numbers, batch)

        return in_turn.cost(work).per(way.batches * rows.batch)

    return turn


def _known(dataset: Dataset) -> dict[str, int]:
    """The number of each row, by what is in it."""
    return {_digest(row.latent, row.text): number for number, row in enumerate(latent_rows.samples(dataset))}


def _digest(latent: np.ndarray, text: np.ndarray) -> str:
    return digests.of_bytes(latent.data.cast("B")) + digests.of_bytes(text.data.cast("B"))


def _check(name: str, read: Read, rows: Rows, batch: Batch, known: dict[str, int]) -> None:
    """Whatever a way puts into a batch is rows, and those that were asked for unless the order is its own."""
    asked = list(range(rows.number))[-rows.batch :][::-1]
    batch.latents[:], batch.texts[:] = 0, 0
    read(asked, batch)
    found = [known[_digest(latent, text)] for latent, text in zip(batch.latents, batch.texts, strict=True)]
    own_order = name in ("webdataset", "litdata_shuffled")
    assert found == asked or (own_order and len(set(found)) == len(asked)), f"{name}: asked for {asked}, got {found}"


def _ours(dataset: Dataset) -> Read:
    def read(numbers: Sequence[int], batch: Batch) -> None:
        dataset.read(numbers, room=batch.room)

    return read


def _bare(dataset: Dataset) -> Read:
    """Nothing but preadv: files and places are looked up before, from the parts' metadata."""
    [source] = dataset.sources
    parts = [source.folder / part["name"] for part in source.manifest["parts"]]
    latents = [place for path in parts if "items/" in str(path) for place in _places(path, LATENT)]
    tokens = [place for path in parts if "/text/" in str(path) for place in _places(path, EMBEDDING)]
    texts = [tokens[source.texts.starts.item(source.text_number(row))] for row in range(len(dataset))]

    def read(numbers: Sequence[int], batch: Batch) -> None:
        for place, number in enumerate(numbers):
            file, offset = latents[number]
            os.preadv(file, [batch.latents[place].data], offset)
            file, offset = texts[number]
            os.preadv(file, [batch.texts[place].data], offset)

    return read


def _places(path: Path, column: str) -> Iterator[tuple[int, int]]:
    """Of each row of a part: its file, open as long as this process runs, and the byte it begins at."""
    file, metadata = os.open(path, os.O_RDONLY), pq.read_metadata(path)
    index = next(n for n in range(metadata.num_columns) if metadata.schema.column(n).path == column)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunk, width = group.column(index), metadata.schema.column(index).length
        end = chunk.data_page_offset + chunk.total_compressed_size
        for row in range(group.num_rows):
            yield file, end - (group.num_rows - row) * width


def _opened(rival: Rival, folder: Path, dataset: Dataset, rows: Rows) -> Read:
    where = folder / rival.figure
    where.mkdir()
    rival.write(where, dataset)
    return rival.open(where, rows.batch)


def _kinds(frame: Frame) -> list[Rows]:
    return [latent_rows.QUICK[rows] if frame.quick else rows for rows in (IMAGE, VIDEO)]
