"""The finished cache of a source: links to parts in the pool, and the manifest that lists them."""

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from frostline import files
from frostline.caching.pool import CLAIMS, FRESH, LATENTS, Pool
from frostline.store import payloads, writing
from frostline.store.layout import CAPTIONS, ITEMS, compute

SOURCES = "sources"
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)  # another disk, or one that has no links


def publish(source: str, names: Sequence[str], facts: Mapping[str, Any], pool: Pool, output: Path) -> dict[str, Any]:
    """Give ``output`` the parts of these names, in this order, and a manifest with ``facts``; what stood there goes.

    Returns the manifest.
    """
    with files.new_folder(output) as beside:
        for name in names:
            link(pool.path(name), beside / name)
        known = {name: digest for name in names if (digest := pool.digest(name))}
        manifest = writing.seal(beside, pool.space, names, facts, known)
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
    for kind, column in ((ITEMS, "latent_id"), (CAPTIONS, "text_id")):
        here = [pool.path(name) for name in used if name.startswith(f"{kind}/") and pool.path(name).exists()]
        ids = [payloads.columns(path, [column], None)[column] for path in here]
        kept = pa.chunked_array([chunk for one in ids for chunk in one.chunks], pa.string()).combine_chunks()
        fresh = pool.folder / FRESH / (LATENTS if kind == ITEMS else CAPTIONS)
        old = [pool.path(name) for name in before - used if name.startswith(f"{kind}/")]
        for path in [*old, *fresh.glob("*.parquet")]:
            if path.exists() and _all_in(payloads.columns(path, [column], None)[column], kept):
                pool.remove(path)
    shutil.rmtree(pool.folder / CLAIMS, ignore_errors=True)


def _all_in(ids: pa.ChunkedArray, kept: pa.Array) -> bool:
    return compute.all(compute.is_in(ids, kept)).as_py()


def link(path: Path, other: Path) -> None:
    """One file under two names; a copy where that cannot be."""
    other.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, other)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(path, other)
