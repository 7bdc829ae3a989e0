"""A source's rows dealt to workers: each makes a cache of its share, and the source's own is made of these.

A row's share is a matter of its source item alone. The cache of a share is one like any other, so what is in it is a
function of its rows. The source's cache takes its parts into the pool, finds there what it wants, and cuts it into
parts of its own. So its bytes are the same with shards, without, and with some of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from frostline import contract as contracts
from frostline import digests, files, records
from frostline.caching import columns, publishing
from frostline.caching.pool import Pool
from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.manifest import Columns, Row, Rows
from frostline.store.layout import MANIFEST

REMEDY = "make it again with `dvc repro`"


class Share:
    """Those rows of a manifest that one of several workers gets."""

    def __init__(self, rows: Rows, number: int, of: int) -> None:
        """``number`` from 1 on, ``of`` so many."""
        self._rows, self._number, self._of = rows, number, of
        self._count = sum(len(part) for part in self.parts(["item"]))

    def __len__(self) -> int:
        return self._count

    def __str__(self) -> str:
        return f"{self._number}-of-{self._of}"

    def parts(self, names: Sequence[str] | None = None) -> Iterator[Columns[Row]]:
        """See Rows."""
        asked = names if names is None or "item" in names else [*names, "item"]
        for part in self._rows.parts(asked):
            dealt = np.floor(columns.draws(part.table["item"]) * self._of) == self._number - 1
            yield Columns(Row, part.table.take(pa.array(np.flatnonzero(dealt))))


def take(folder: Path, pool: Pool) -> set[str]:
    """Take the parts of all shares below a folder into the pool, those that it lacks; gives their names.

    Raises Refused if a shard is of another latent space, or a part of it is missing or not what its digest says.
    """
    taken = set[str]()
    for listing in sorted(folder.glob(f"*/{MANIFEST}")):
        manifest = files.read_json(listing)
        space = records.parse(LatentSpace, manifest["latent_space"], origin=str(listing))
        contracts.require_same(pool.space, space, ours_is="the base", theirs_is=str(listing), remedy=REMEDY)
        for part in manifest["parts"]:
            if pool.digest(part["name"]) is None:
                _take(listing.parent / part["name"], part["name"], part["digest"], pool)
            taken.add(part["name"])
    return taken


def _take(path: Path, part: str, digest: str, pool: Pool) -> None:
    if not path.exists():
        raise Refused(f"{path}: missing; {REMEDY}")
    if (found := digests.of_file(path)) != digest:
        raise Refused(f"{path}: digest {found} is not the {digest} of {MANIFEST}; {REMEDY}")
    pool.path(part).unlink(missing_ok=True)
    publishing.link(path, pool.path(part))
    pool.keep(part)
