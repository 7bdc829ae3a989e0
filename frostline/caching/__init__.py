"""From a manifest to a cache: every wanted item through the frozen VAE once, every distinct caption through the text
encoder once.

What was encoded before, by any source of the project, is taken from the pool, and a part of the same rows is taken as a
whole. So a run that adds to a cache and a run from nothing end in the same bytes, and a killed run goes on.

Modules: wanted (what a cache is to hold, with ids), cutting (where parts end), pool (what is there already), units
(work that is claimed), encoding and texts (what is not there yet), building (parts), publishing (the finished cache),
remote (its parts into a store).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from frostline.caching import building, publishing, texts, wanted
from frostline.caching.building import Part
from frostline.caching.encoding import Bucket, Encoder, Pixels
from frostline.caching.pool import Found, Pool
from frostline.caching.wanted import Wanted
from frostline.codec import Codec
from frostline.errors import WrongUse
from frostline.manifest import Columns, Row, bucket_name
from frostline.params import CacheParams
from frostline.store import payloads
from frostline.store.layout import compute


def write_source(
    source: str,
    rows: Columns[Row],
    pixels: Pixels,
    codec: Codec,
    params: CacheParams,
    pool: Pool,
    output: Path,
    address: str | None = None,
) -> dict[str, Any]:
    """Make the cache of a source, its parts in ``output`` or, if it is given, at an address in a store.

    Returns its manifest. Raises WrongUse for an empty manifest, Refused if the VAE gives something that is no number.
    """
    if not len(rows):
        raise WrongUse("the manifest has no rows: look at its rejected.parquet for the reasons")
    what = wanted.of(rows, codec.latent_space, params, codec.device)
    with pool.using():
        before = publishing.published(pool).get(source, set())
        captions, tokens = _fill_texts(what, codec, params, pool)
        codec.release("text_encoder")
        items = _fill_items(what, wanted.items(what, tokens), pixels, codec, params, pool)
        prompts = building.prompt_parts(wanted.prompts(what, tokens), codec.latent_space)
        building.build_prompts(prompts, pool)
        names = [part.name for part in (*items, *prompts, *captions)]
        names += [building.text_of(part.name) for part in captions]
        facts = {
            "rows": _counts(rows),
            "prompts": what.previews,
            "frozen_parameters": {part: codec.parameters_of(part) for part in ("vae", "text_encoder")},
        }
        with pool.one_at_a_time(f"publish-{source}"):
            manifest = publishing.publish(source, names, facts, pool, output, address)
    with pool.alone() as alone:
        if alone:
            publishing.forget_superseded(before, pool)
    return manifest


def _fill_texts(what: Wanted, codec: Codec, params: CacheParams, pool: Pool) -> tuple[list[Part], pa.Table]:
    """Have all texts in the pool; gives their parts, and the tokens of each text_id."""
    parts = building.caption_parts(what.captions, pool.space)
    absent = [part for part in parts if not building.has_captions(part, pool)]
    if absent:
        facts = pa.concat_tables([part.facts for part in absent])
        found = pool.texts(facts["text_id"].combine_chunks())
        if len(found.missing):
            new = facts.take(found.unsettled)
            ids, captions = (new[name].to_pylist() for name in ("text_id", "caption"))
            texts.encode(ids, captions, _fresh(found, ids), codec, params.text_batch, pool)
        building.build_captions(absent, pool)
    tables = [payloads.columns(pool.path(part.name), ["text_id", "tokens"], pool.space) for part in parts]
    return parts, pa.concat_tables([table.select(["text_id", "tokens"]) for table in tables])


def _fill_items(
    what: Wanted, facts: pa.Table, pixels: Pixels, codec: Codec, params: CacheParams, pool: Pool
) -> list[Part]:
    """Have all latents in the pool; gives the parts of items."""
    parts: list[Part] = []
    for bucket, start, end in _buckets(what.shown):
        encoder = Encoder(bucket, pixels, codec, params, pool)
        here = building.item_parts(facts.slice(start, end - start), bucket, encoder.width, pool.space)
        absent = [part for part in here if not pool.digest(part.name)]
        if absent:
            _encode(what, encoder, pa.concat_tables([part.facts for part in absent]), pool)
            building.build_items(absent, pool)
        parts += here
    return parts


def _encode(what: Wanted, encoder: Encoder, facts: pa.Table, pool: Pool) -> None:
    """Encode what of these items' latents the pool lacks, each once."""
    ids = compute.unique(facts["latent_id"])
    found = pool.latents(ids, encoder.name)
    if len(found.missing):
        new = ids.take(found.unsettled)
        rows = what.shown.table.take(compute.index_in(new, what.latent_ids)).combine_chunks()
        encoder.encode(Columns(Row, rows), new.to_pylist(), _fresh(found, new.to_pylist()))


def _fresh(found: Found, unsettled: Sequence[str]) -> set[str]:
    """Which of the ids that no part has are fresh in the pool.

    Units are cut of all of them, whatever is fresh: two processes that began at different times cut the same.
    """
    return {one for one, file in zip(unsettled, found.file[found.unsettled].tolist(), strict=True) if file >= 0}


def _buckets(rows: Columns[Row]) -> Iterable[tuple[Bucket, int, int]]:
    """The buckets of rows in order: each with its first row, and the row after its last."""
    buckets = list(zip(*map(rows.values, ("frames", "height", "width")), strict=True))
    starts = [n for n, bucket in enumerate(buckets) if n == 0 or bucket != buckets[n - 1]]
    ends = [*starts[1:], len(buckets)]  # one more than starts if there are no rows
    return [(buckets[start], start, end) for start, end in zip(starts, ends, strict=False)]


def _counts(rows: Columns[Row]) -> dict[str, int]:
    """Rows by bucket and split: ``5x32x32/train``, ``prompts/train``."""
    columns = ["frames", "height", "width", "split"]
    counted = rows.table.select(columns).group_by(columns, use_threads=False).aggregate([([], "count_all")])
    found = {
        f"{bucket_name((row['frames'], row['height'], row['width']))}/{row['split']}": row["count_all"]
        for row in counted.to_pylist()
    }
    return dict(sorted(found.items()))
