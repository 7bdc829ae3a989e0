"""The finished cache of a source: links to parts in the pool, and the manifest that lists them."""

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from frostline import files
from frostline.caching import remote
from frostline.caching.pool import CLAIMS, LATENTS, Pool
from frostline.store import payloads, writing
from frostline.store.layout import CAPTIONS, ITEMS, compute

SOURCES = "sources"
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)  # another disk, or one that has no links


def publish(
    source: str, names: Sequence[str], facts: Mapping[str, Any], pool: Pool, output: Path, address: str | None = None
) -> dict[str, Any]:
    """Give ``output`` the parts of these names, in this order, and a manifest with ``facts``; what stood there goes.

    With the ``address`` of a store the parts go there, and ``output`` gets the manifest and that address.
    Returns the manifest.
    """
    with files.new_folder(output) as beside:
        known = {name: digest for name in names if (digest := pool.digest(name))}
        if address is None:
            for name in names:
                link(pool.path(name), beside / name)
            manifest = writing.seal(beside, pool.space, names, facts, known)
        else:
            manifest = writing.seal(beside, pool.space, names, facts, known, pool.folder)
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
    for kind, column, fresh in ((ITEMS, "latent_id", LATENTS), (CAPTIONS, "text_id", CAPTIONS)):
        old = {name for name in before - used if name.startswith(f"{kind}/")}
        candidates = [path for path in (*map(pool.path, sorted(old)), *pool.fresh(fresh)) if path.exists()]
        if candidates:
            kept = [pool.path(name) for name in used if name.startswith(f"{kind}/") and pool.path(name).exists()]
            for path in _covered(candidates, kept, column):
                pool.remove(path)
    shutil.rmtree(pool.folder / CLAIMS, ignore_errors=True)


def _covered(candidates: Sequence[Path], kept: Sequence[Path], column: str) -> list[Path]:
    """Those files of which other files have every id."""
    asked = [payloads.columns(path, [column], None)[column] for path in candidates]
    known = [chunk for path in kept for chunk in payloads.columns(path, [column], None)[column].chunks]
    ids = pa.chunked_array([chunk for one in asked for chunk in one.chunks], pa.string()).combine_chunks()
    found = compute.is_in(ids, pa.chunked_array(known, pa.string()).combine_chunks()).to_numpy(zero_copy_only=False)
    ends = np.cumsum([len(one) for one in asked])
    whole = [bool(found[end - len(one) : end].all()) for one, end in zip(asked, ends, strict=True)]
    return [path for path, every in zip(candidates, whole, strict=True) if every]


def link(path: Path, other: Path) -> None:
    """One file under two names; a copy where that cannot be."""
    other.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, other)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(path, other)
