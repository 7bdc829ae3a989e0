"""From a manifest to a cache: every wanted item through the frozen VAE once, every distinct caption through the text
encoder once.

What was encoded before, by any source of the project, is taken from the pool, and a part of the same rows is taken as a
whole. So a run that adds to a cache and a run from nothing end in the same bytes, and a killed run goes on. Rows pass
in the cache's order, some thousands at a time: memory is that of the VAE, and some tens of bytes a row.

Modules: wanted (ids), gathering (all rows in order, by way of sorting), cutting (where parts end), pool and known (what
is there already), units (work that is claimed), encoding and texts (what is not there yet), building (parts), lengths
(of texts), filling (from rows to parts in the pool), publishing (the finished cache), remote (its parts into a store),
shards (rows dealt to several workers).
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from frostline import manifest
from frostline.caching import filling, gathering, publishing, shards
from frostline.caching.encoding import Pixels
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.errors import WrongUse
from frostline.manifest import Rows
from frostline.params import CacheParams


def write_source(
    source: str,
    rows: Rows,
    pixels: Pixels,
    codec: Codec,
    params: CacheParams,
    pool: Pool,
    output: Path,
    address: str | None = None,
    shares: Path | None = None,
) -> dict[str, Any]:
    """Make the cache of a source, its parts in ``output`` or, if it is given, at an address in a store.

    What was encoded elsewhere is taken from the folder ``shares``, which holds a cache for each share of the rows that
    is there. Returns the manifest. Raises WrongUse for an empty manifest, Refused if the VAE gives something that is no
    number or a share is not what its manifest says.
    """
    if not len(rows):
        raise WrongUse("the manifest has no rows: look at its rejected.parquet for the reasons")
    manifest.without_pandas()
    pa.set_memory_pool(pa.system_memory_pool())  # which gives back what was freed; Arrow's own keeps some tens of MB
    with (
        pool.using(),
        gathering.gathered(rows, codec.latent_space, params, codec.device, pool.folder) as what,
    ):
        before = publishing.published(pool).get(source, set()) | (shards.take(shares, pool) if shares else set())
        captions, tokens, lengths = filling.fill_texts(what, codec, params, pool)
        codec.release("text_encoder")
        items = filling.fill_items(what, lengths, pixels, codec, params, pool)
        prompts = filling.fill_prompts(what, lengths, pool)
        facts = {
            "rows": what.counts,
            "prompts": what.previews,
            **({"negative": what.negative} if what.negative else {}),
            "frozen_parameters": {part: codec.parameters_of(part) for part in ("vae", "text_encoder")},
        }
        with pool.one_at_a_time(f"publish-{source}"):
            sealed = publishing.publish(source, [*items, *prompts, *captions, *tokens], facts, pool, output, address)
    with pool.alone() as alone:
        if alone:
            publishing.forget_superseded(before, pool)
    return sealed


def write_share(
    source: str,
    share: shards.Share,
    pixels: Pixels,
    codec: Codec,
    params: CacheParams,
    pool: Pool,
    output: Path,
) -> dict[str, Any]:
    """Make the cache of a share of a source's rows, which may be none; returns its manifest."""
    if len(share):
        return write_source(f"{source}.{share}", share, pixels, codec, params, pool, output)
    return publishing.publish(f"{source}.{share}", [], {"rows": {}}, pool, output)
