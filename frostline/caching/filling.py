"""What the pool lacks of a cache is encoded and put there, a window of parts after the other.

A window is some thousands of rows in the cache's order: parts that follow each other, whichever of them are there
already. So two processes that want the same rows see the same windows, and cut the same units in each.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from frostline.caching import bars, building, texts
from frostline.caching.bars import Bar
from frostline.caching.building import Part
from frostline.caching.encoding import Encoder, Pixels
from frostline.caching.gathering import Gathered
from frostline.caching.known import Found, Known
from frostline.caching.lengths import Lengths
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.manifest import Columns, Row
from frostline.params import CacheParams
from frostline.store import keys
from frostline.store.layout import compute
from frostline.store.writing import Sealed

WINDOW = 1 << 13  # rows, unless a part has more


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A part that is in the pool."""

    name: str
    sealed: Sealed | None  # None if its digest is not known

    @classmethod
    def of(cls, name: str, rows: int, pool: Pool) -> "Filled":
        """A part as it lies in the pool."""
        recorded = pool.recorded(name)
        sealed = Sealed(rows=rows, bytes=recorded.size, digest=recorded.digest) if recorded else None
        return cls(name=name, sealed=sealed)


def fill_texts(
    what: Gathered, codec: Codec, params: CacheParams, pool: Pool
) -> tuple[list[Filled], list[Filled], Lengths]:
    """Have all texts in the pool; gives the parts of captions, those of their tokens, and how many tokens each has."""
    known, lengths, done = pool.texts(), Lengths(what.texts.rows), 0
    captions, tokens = list[Filled](), list[Filled]()
    with bars.bar(what.texts.rows, f"encoding text on {codec.device}", "text") as bar:
        for window in _windows(building.caption_parts(what.texts.tables(), what.caption_bytes, pool.space)):
            absent = [part for part in window if not building.has_captions(part, pool)]
            if absent:
                _encode_texts(absent, known, codec, params, pool, bar)
            for part in window:
                ids = pool.ids(pool.path(part.name))
                lengths.add(ids.keys, ids.counts)
                captions.append(Filled.of(part.name, len(part.facts), pool))
                tokens.append(Filled.of(building.text_of(part.name), int(ids.counts.sum()), pool))
            done += sum(len(part.facts) for part in window)
            bar.reach(done)
    lengths.sort()
    return captions, tokens, lengths


def fill_items(
    what: Gathered, lengths: Lengths, pixels: Pixels, codec: Codec, params: CacheParams, pool: Pool
) -> list[Filled]:
    """Have all latents in the pool; gives the parts of items."""
    filled: list[Filled] = []
    tables = (building.items(table, lengths) for table in what.shown.tables())
    for bucket, here in itertools.groupby(building.by_bucket(tables), key=lambda one: one[0]):
        encoder = Encoder(bucket, pixels, codec, params, pool)
        rows = (table for _, table in here)
        parts = building.item_parts(rows, bucket, what.buckets[bucket], encoder.width, pool.space)
        filled += _fill_bucket(parts, encoder, what)
    return filled


def _fill_bucket(parts: Iterable[Part], encoder: Encoder, what: Gathered) -> Iterator[Filled]:
    pool, done = encoder.pool, 0
    known = pool.latents(encoder.name)
    doing = f"encoding {encoder.name} on {encoder.codec.device}"
    with bars.bar(what.buckets[encoder.bucket], doing, "item") as bar:
        for window in _windows(parts):
            absent = [part for part in window if not pool.digest(part.name)]
            if absent:
                _encode_items(absent, known, encoder, what.repeated, bar)
            yield from (Filled.of(part.name, len(part.facts), pool) for part in window)
            done += sum(len(part.facts) for part in window)
            bar.reach(done)


def fill_prompts(what: Gathered, lengths: Lengths, pool: Pool) -> list[Filled]:
    """Have all prompts without media in the pool; gives their parts."""
    filled: list[Filled] = []
    tables = (building.prompts(table, lengths) for table in what.prompts.tables())
    for part in building.prompt_parts(tables, what.prompt_bytes, pool.space):
        building.build_prompts(part, pool)
        filled.append(Filled.of(part.name, len(part.facts), pool))
    return filled


def _windows(parts: Iterable[Part]) -> Iterator[list[Part]]:
    window: list[Part] = []
    for part in parts:
        window.append(part)
        if sum(len(one.facts) for one in window) >= WINDOW:
            yield window
            window = []
    if window:
        yield window


def _encode_texts(
    absent: Sequence[Part], known: Known, codec: Codec, params: CacheParams, pool: Pool, bar: Bar
) -> None:
    """Encode what of these parts the pool lacks, and write them."""
    known.look()
    facts = pa.concat_tables([part.facts for part in absent])
    wanted = keys.of(facts["text_id"])
    found = known.find(wanted)
    if len(found.missing):
        new = facts.take(found.unsettled)
        ids, captions = (new[name].to_pylist() for name in ("text_id", "caption"))
        texts.encode(ids, captions, _fresh(found, ids), codec, params.text_batch, pool, bar)
        known.look_at_units()
    building.build_captions(absent, known, pool)
    known.settle(wanted, ((pool.path(part.name), *_NONE) for part in absent))


def _encode_items(absent: Sequence[Part], known: Known, encoder: Encoder, repeated: np.ndarray, bar: Bar) -> None:
    """Encode what of these parts the pool lacks, each latent once, and write them."""
    known.look()
    rows = pa.concat_tables([part.rows for part in absent])
    ids = compute.unique(rows["latent_id"])
    wanted = keys.of(ids)
    found = known.find(wanted)
    if len(found.missing):
        new = ids.take(found.unsettled)
        table = rows.take(compute.index_in(new, rows["latent_id"].combine_chunks())).combine_chunks()
        encoder.encode(Columns(Row, table.select(_ROW)), new.to_pylist(), _fresh(found, new.to_pylist()), bar)
        known.look_at_units()
    building.build_items(absent, encoder.bucket, known, encoder.pool)
    known.settle(wanted, ((encoder.pool.path(part.name), *_again(part, repeated)) for part in absent))


def _fresh(found: Found, unsettled: Sequence[str]) -> set[str]:
    """Which of the ids that no part has are fresh in the pool.

    Units are cut of all of them, whatever is fresh: two processes that began at different times cut the same.
    """
    return {one for one, file in zip(unsettled, found.file[found.unsettled].tolist(), strict=True) if file >= 0}


def _again(part: Part, repeated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ids of a part that other rows may have as well, and their rows."""
    if not len(repeated):
        return _NONE
    ids = keys.of(part.facts["latent_id"])
    places = np.minimum(np.searchsorted(repeated, ids[:, 0]), len(repeated) - 1)
    rows = np.flatnonzero(repeated[places] == ids[:, 0])
    return ids[rows], rows


_NONE = np.zeros((0, 2), np.uint64), np.zeros(0, np.int64)
_ROW = [field.name for field in dataclasses.fields(Row)]
