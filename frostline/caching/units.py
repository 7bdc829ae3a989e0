"""Work cut into units that are whole or not there, each claimed by the one process that does it."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from frostline import digests
from frostline.caching.pool import Pool


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Some of the ids that are missing, one after another."""

    name: str
    path: Path  # there once the unit is done
    places: range  # of its ids


def cut(ids: Sequence[str], size: int, kind: str, pool: Pool) -> list[Unit]:
    """Units of so many ids; processes that want the same ids cut the same units."""
    starts = range(0, len(ids), size)
    named = [(digests.of_json(list(ids[start : start + size])), start) for start in starts]
    return [
        Unit(name=name, path=pool.unit(kind, name), places=range(start, min(start + size, len(ids))))
        for name, start in named
    ]


class Claims:
    """Takes the units that no other process has, then those that others had and did not finish; a context manager.

    Claims that are still held when the context ends are given up.
    """

    def __init__(self, units: Sequence[Unit], pool: Pool) -> None:
        self._units, self._pool = list(units), pool
        self._held = contextlib.ExitStack()

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def __iter__(self) -> Iterator[tuple[Unit, contextlib.ExitStack]]:
        """Each unit that is to be done here, with the claim: whoever takes it closes the claim when it is done."""
        others = []
        for unit in self._units:
            yield from self._take(unit, others, wait=False)
        for unit in others:
            yield from self._take(unit, [], wait=True)

    def _take(self, unit: Unit, others: list[Unit], *, wait: bool) -> Iterator[tuple[Unit, contextlib.ExitStack]]:
        claim = contextlib.ExitStack()
        self._held.callback(claim.close)
        if not claim.enter_context(self._pool.claim(unit.name, wait=wait)):
            others.append(unit)
        elif not unit.path.exists():
            yield unit, claim
            return
        claim.close()
