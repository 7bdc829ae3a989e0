"""Rows that are whole, out of parts that are not, into fresh units of the pool: they need not be encoded again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from frostline import digests
from frostline.caching.pool import LATENTS, Pool
from frostline.contract import LatentSpace
from frostline.maintenance import contents
from frostline.maintenance.contents import Row, Tensors
from frostline.maintenance.parts import UNREADABLE
from frostline.store import layout, writing
from frostline.store.layout import CAPTIONS, TEXT, Caption

UNIT_BYTES = 64 << 20  # of rows in a unit, about


class Rescue:
    """Takes rows into a pool, each once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._latents: set[str] = set()
        self._texts: set[str] = set()

    def latents(self, path: Path, spaces: Sequence[LatentSpace]) -> int:
        """Rescue the rows of a part with latents, if it is of one of these spaces; gives how many."""
        part = tensors(path, spaces)
        if part is None:
            return 0

        def write(rows: list[Row]) -> None:
            ids = [row.id for row in rows]
            data = np.concatenate([row.data for row in rows])
            place = self._pool.unit(LATENTS, names(ids)[1])
            writing.write_latents(place, part.space, part.shape, ids, data)

        return _rescue(contents.latents(path), self._latents, write)

    def texts(self, captions: Path, text: Path, spaces: Sequence[LatentSpace]) -> int:
        """Rescue the texts of a part of captions, if it is of one of these spaces; gives how many."""
        part = tensors(text, spaces)
        if part is None:
            return 0

        def write(rows: list[Row]) -> None:
            name = names([row.id for row in rows])[1]
            facts = layout.table(Caption, [_caption(row) for row in rows])
            data = np.concatenate([row.data for row in rows])
            writing.write_text(self._pool.unit(TEXT, name), part.space, facts, data)
            writing.write_captions(self._pool.unit(CAPTIONS, name), part.space, facts)

        return _rescue(contents.texts(captions, text), self._texts, write)


def tensors(path: Path, spaces: Sequence[LatentSpace]) -> Tensors | None:
    """What the rows of a part are; None if it cannot be read or is of none of these latent spaces."""
    try:
        part = contents.tensors(path)
    except UNREADABLE:
        return None
    return part if part.space in spaces else None


def _rescue(rows: Iterator[Row], known: set[str], write: Callable[[list[Row]], None]) -> int:
    before = len(known)
    for unit in _units(row for row in _readable(rows) if not row.wrong):
        new = list({row.id: row for row in unit if row.id not in known}.values())
        if new:
            write(new)
        known.update(row.id for row in new)
    return len(known) - before


def _readable(rows: Iterator[Row]) -> Iterator[Row]:
    """Rows as far as the file can be read."""
    try:
        yield from rows
    except UNREADABLE:
        return


def _units(rows: Iterable[Row]) -> Iterator[list[Row]]:
    unit: list[Row] = []
    size = 0
    for row in rows:
        unit.append(row)
        size += row.data.nbytes
        if size >= UNIT_BYTES:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit


def _caption(row: Row) -> Caption:
    return Caption(text_id=row.id, caption=row.caption, tokens=len(row.data), text_digest=row.digest)


def names(ids: Sequence[str]) -> tuple[str, str]:
    """The names of a unit of these ids: as it is cut, and as it is rescued.

    They differ, for rows may come from a damaged unit that is removed afterwards.
    """
    return digests.of_json(list(ids)), digests.of_json(["rescued", *ids])
