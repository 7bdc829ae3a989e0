"""The finished cache of a source: links to parts in the pool, and the manifest that lists them."""

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frostline import files
from frostline.caching import remote
from frostline.caching.filling import Filled
from frostline.caching.pool import CLAIMS, LATENTS, Pool
from frostline.store import keys, writing
from frostline.store.layout import CAPTIONS, ITEMS

SOURCES = "sources"
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)  # another disk, or one that has no links


def publish(
    source: str, parts: Sequence[Filled], facts: Mapping[str, Any], pool: Pool, output: Path, address: str | None = None
) -> dict[str, Any]:
    """Give ``output`` these parts, in this order, and a manifest with ``facts``; what stood there goes.

    With the ``address`` of a store the parts go there, and ``output`` gets the manifest and that address.
    Returns the manifest.
    """
    names = [part.name for part in parts]
    known = {part.name: part.sealed for part in parts if part.sealed}
    with files.new_folder(output, synced=True) as beside:
        if address is None:
            for name in names:
                link(pool.path(name), beside / name)
        manifest = writing.seal(beside, pool.space, names, facts, known, pool.folder)
        if address is not None:
            remote.send(beside, manifest["parts"], pool.folder, address)
    record(source, names, pool)
    return manifest


def record(source: str, names: Sequence[str], pool: Pool) -> None:
    """Keep in mind which parts a source has."""
    files.write_json(pool.folder / SOURCES / f"{source}.json", {"parts": list(names)})


def published(pool: Pool) -> dict[str, set[str]]:
    """The parts each source was last published with."""
    found = sorted((pool.folder / SOURCES).glob("*.json"))
    return {path.stem: set(files.read_json(path)["parts"]) for path in found}


def forget_superseded(before: set[str], pool: Pool) -> None:
    """Remove parts of ``before`` that no source has any more, and what is fresh, if other parts have all their rows."""
    used = set[str]().union(*published(pool).values())
    for kind, fresh in ((ITEMS, LATENTS), (CAPTIONS, CAPTIONS)):
        old = {name for name in before - used if name.startswith(f"{kind}/")}
        candidates = [path for path in (*map(pool.path, sorted(old)), *pool.fresh(fresh)) if path.exists()]
        if candidates:
            kept = [pool.path(name) for name in used if name.startswith(f"{kind}/") and pool.path(name).exists()]
            for path in _covered(candidates, kept, pool):
                pool.remove(path)
    shutil.rmtree(pool.folder / CLAIMS, ignore_errors=True)


def _covered(candidates: Sequence[Path], kept: Sequence[Path], pool: Pool) -> list[Path]:
    """Those files of which other files have every id."""
    index = keys.Index(np.concatenate([np.zeros((0, 2), np.uint64), *(pool.ids(path).keys for path in kept)]))
    return [path for path in candidates if (index.find(pool.ids(path).keys) >= 0).all()]


def link(path: Path, other: Path) -> None:
    """One file under two names; a copy where that cannot be."""
    other.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, other)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(path, other)
        files.sync(other)
