"""Some rows of a cache made again: a digest tells that a row is what was stored, not that it was right.

Which rows is a matter of their ids, the smallest of each bucket in turn: every look at a cache takes the same.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from frostline.caching import wanted
from frostline.caching.building import text_of
from frostline.caching.encoding import Pixels
from frostline.checks import cache_identity
from frostline.codec import Codec
from frostline.errors import FrostlineError
from frostline.maintenance import findings
from frostline.maintenance.caches import Cache
from frostline.maintenance.findings import AGAIN, Finding
from frostline.manifest import Columns, Row
from frostline.params import CacheParams
from frostline.store import layout, payloads
from frostline.store.far import Where
from frostline.store.layout import CAPTIONS, EMBEDDING, ITEMS, LATENT, compute

UNSEEN = (FrostlineError, OSError)  # what reading media raises
REMEDY = "if media, their decoder and the base are what they were, remove .work/latents and the cache, and " + AGAIN


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A row or a text that is made again."""

    path: Path  # of its part
    where: Where  # to read it from
    number: int  # first tensor row
    count: int  # of tensor rows: 1 of a latent, the tokens of a text
    id: str  # latent_id or text_id
    facts: dict[str, Any]
    row_is: str

    def finding(self, what: str, remedy: str) -> Finding:
        """Something that is not as it should be about it."""
        return Finding(verdict="differs", path=self.path, what=what, remedy=remedy, row=self.number, row_is=self.row_is)


def look(
    cache: Cache, rows: Columns[Row], pixels: Pixels, codec: Codec, params: CacheParams, count: int
) -> list[Finding]:
    """Make ``count`` rows and as many texts of a whole cache again; ``rows`` is the source's manifest."""
    found = list(_texts(_chosen_texts(cache, count), codec, params.text_batch))
    codec.release("text_encoder")
    for _, here in itertools.groupby(_chosen_rows(cache, count), lambda one: one.path):
        found += _latents(list(here), rows, pixels, codec, params)
    return found


def _latents(
    chosen: Sequence[Chosen], rows: Columns[Row], pixels: Pixels, codec: Codec, params: CacheParams
) -> Iterator[Finding]:
    """Encode rows of one part as the cache was: in batches of one size, the last padded."""
    size, (_, height, width) = params.encode_batch, layout.bucket_of(chosen[0].path.parent.name)
    tiled = wanted.tiled(height, width, codec.latent_space, params)
    ids = pa.array([one.facts["id"] for one in chosen], pa.string())
    known = {row.id: row for row in Columns(Row, rows.table.filter(compute.is_in(rows.table["id"], ids))).records()}
    shown: list[tuple[Chosen, np.ndarray]] = []
    for one in chosen:
        row = known.get(one.facts["id"])
        if row is None or one.id not in wanted.latent_ids(row, codec.latent_space, params):
            yield one.finding("no longer a row of the source's manifest", AGAIN)
            continue
        try:
            shown.append((one, pixels(row)))
        except UNSEEN as error:
            yield findings.note(one.path, f"row {one.number} was not made again: {error}")
    for start in range(0, len(shown), size):
        batch = shown[start : start + size]
        stacked = torch.from_numpy(np.stack([seen for _, seen in batch]))
        padded = torch.cat([stacked, stacked[-1:].expand(size - len(batch), *stacked.shape[1:])])
        made = codec.encode(padded, tiled)[: len(batch)].cpu()
        yield from _compared([one for one, _ in batch], made, LATENT, codec.latent_space.stored_dtype)


def _texts(chosen: Sequence[Chosen], codec: Codec, size: int) -> Iterator[Finding]:
    """Encode captions as those of the cache were: in batches of ``size``, the last padded."""
    for start in range(0, len(chosen), size):
        batch = chosen[start : start + size]
        captions = [one.facts["caption"] for one in batch]
        made = codec.encode_text([*captions, *[captions[-1]] * (size - len(batch))])[: len(batch)]
        yield from _compared(batch, [text.cpu() for text in made], EMBEDDING, codec.latent_space.text_stored_dtype)


def _compared(chosen: Sequence[Chosen], made: Sequence[Tensor] | Tensor, column: str, dtype: str) -> Iterator[Finding]:
    """Those that differ from themselves made again by more than rounding."""
    limit = cache_identity.LIMITS[dtype]
    for one, made_again in zip(chosen, made, strict=True):
        part = payloads.open_payload(one.where, column, None)
        stored = part.tensors.view(payloads.read(part, one.number, one.count)).float()
        fresh = made_again if column == EMBEDDING else made_again[None]
        if stored.shape != fresh.shape:
            yield one.finding(f"made again it has the shape {tuple(fresh.shape)}, here {tuple(stored.shape)}", REMEDY)
        elif not (error := cache_identity.relative_error(stored, fresh)) < limit:
            yield one.finding(
                f"made again it differs by {error:.2g} of its norm, more than rounding ({limit:g})", REMEDY
            )


def _chosen_rows(cache: Cache, count: int) -> list[Chosen]:
    """Rows of each bucket in turn; those of one part together."""
    buckets: dict[str, list[Chosen]] = {}
    for name in cache.names(ITEMS):
        table = payloads.columns(cache.where(name), ["id", "item", "latent_id"], cache.space)
        here = buckets.setdefault(name.split("/")[1], [])
        for place, facts in _least(table, "latent_id", count):
            row_is = f"item {facts['item']}, id {facts['id']}"
            here.append(_chosen(cache, name, place, 1, facts["latent_id"], facts, row_is))
        here.sort(key=lambda one: one.id)
        del here[count:]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*buckets.values()))
    chosen = [one for one in turns if one is not None][:count]
    return sorted(chosen, key=lambda one: (one.path, one.number))


def _chosen_texts(cache: Cache, count: int) -> list[Chosen]:
    """Captions of all parts."""
    found: list[Chosen] = []
    for name in cache.names(CAPTIONS):
        table = payloads.columns(cache.where(name), ["text_id", "caption", "tokens"], cache.space)
        ends = np.cumsum(table["tokens"].to_numpy())
        for place, facts in _least(table, "text_id", count):
            start, tokens = int(ends[place]) - facts["tokens"], facts["tokens"]
            row_is = f"the text {facts['caption'][:40]!r}"
            found.append(_chosen(cache, text_of(name), start, tokens, facts["text_id"], facts, row_is))
    return sorted(found, key=lambda one: one.id)[:count]


def _chosen(cache: Cache, name: str, number: int, count: int, id_: str, facts: dict[str, Any], row_is: str) -> Chosen:
    path, where = cache.folder / name, cache.where(name)
    return Chosen(path=path, where=where, number=number, count=count, id=id_, facts=facts, row_is=row_is)


def _least(table: pa.Table, key: str, count: int) -> list[tuple[int, dict[str, Any]]]:
    """The rows with the smallest ids, and their numbers."""
    places = compute.sort_indices(table, sort_keys=[(key, "ascending")])[:count]
    return list(zip(places.to_pylist(), table.take(places).to_pylist(), strict=True))
