"""Rows in order to parts with names, and the parts that are not in the pool yet to files there."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from frostline import digests
from frostline.caching import columns, cutting, gathering
from frostline.caching.known import Found, Ids, Known
from frostline.caching.lengths import Lengths
from frostline.caching.pool import Pool
from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.store import keys, layout, payloads, writing
from frostline.store.layout import CAPTIONS, ITEMS, PROMPTS, TEXT, Item, Prompt, bucket_name, compute

LAYOUT = 2  # raise when the bytes of a part change for the same rows
Bucket = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some rows in order, named by what they are."""

    name: str  # relative to the cache's folder, and to the pool's
    facts: pa.Table
    rows: pa.Table  # what is known of them beside: as the manifest has them


# ---------------------------------------------------------------------------------------------------------- which parts


def item_parts(
    tables: Iterable[pa.Table], bucket: Bucket, count: int, width: int, space: LatentSpace
) -> Iterator[Part]:
    """Items of one bucket, ``count`` of them of ``width`` bytes each, cut into parts."""
    parts = cutting.parts(tables, "id", lambda table: np.full(len(table), width), count * width)
    return _named(f"{ITEMS}/{bucket_name(bucket)}", parts, Item, space)


def caption_parts(tables: Iterable[pa.Table], total: int, space: LatentSpace) -> Iterator[Part]:
    """Texts of ``total`` bytes, as gathering.caption_sizes counts them, cut into parts."""
    parts = cutting.parts(tables, "text_id", lambda table: gathering.caption_sizes(table, space), total)
    for part in parts:
        facts = part.select(["text_id", "caption"])
        yield Part(name=f"{CAPTIONS}/{_name(facts, space)}.parquet", facts=facts, rows=part)


def prompt_parts(tables: Iterable[pa.Table], total: int, space: LatentSpace) -> Iterator[Part]:
    """Prompts of ``total`` bytes, as gathering.prompt_sizes counts them, cut into parts."""
    return _named(PROMPTS, cutting.parts(tables, "id", gathering.prompt_sizes, total), Prompt, space)


def items(table: pa.Table, lengths: Lengths) -> pa.Table:
    """Rows that are shown, and the lengths of their texts."""
    lists = table["text_ids"].combine_chunks()
    counts = lengths.of(keys.of(lists.flatten()))
    offsets = np.concatenate([[0], np.cumsum(payloads.numbers(compute.list_value_length(lists)))]).astype(np.int32)
    return table.append_column("text_lengths", pa.ListArray.from_arrays(pa.array(offsets), pa.array(counts)))


def prompts(table: pa.Table, lengths: Lengths) -> pa.Table:
    """Rows without media, their one caption as Prompt has it."""
    ids = compute.list_flatten(table["text_ids"])
    table = table.append_column("caption", compute.list_flatten(table["captions"])).append_column("text_id", ids)
    return table.append_column("text_length", pa.array(lengths.of(keys.of(ids))))


def by_bucket(tables: Iterable[pa.Table]) -> Iterator[tuple[Bucket, pa.Table]]:
    """Tables in order, each cut where another bucket begins."""
    for table in tables:
        sides = [payloads.numbers(table[name]) for name in ("frames", "height", "width")]
        changes = np.flatnonzero(np.any([side[1:] != side[:-1] for side in sides], axis=0)) + 1
        starts = [0, *changes.tolist(), len(table)]
        for start, end in itertools.pairwise(starts):
            frames, height, width = (int(side[start]) for side in sides)
            yield (frames, height, width), table.slice(start, end - start)


def text_of(captions: str) -> str:
    """The name of the text part of a captions part."""
    return captions.replace(CAPTIONS, TEXT, 1)


def _named(
    folder: str, parts: Iterable[pa.Table], kind: type[Item] | type[Prompt], space: LatentSpace
) -> Iterator[Part]:
    schema = layout.schema(kind)
    for part in parts:
        arrays = [part[field.name].combine_chunks().cast(field.type) for field in schema]
        facts = pa.Table.from_arrays(arrays, schema=schema)
        yield Part(name=f"{folder}/{_name(facts, space)}.parquet", facts=facts, rows=part)


def _name(rows: pa.Table, space: LatentSpace) -> str:
    """A digest of what a part holds: its rows, and the latent space."""
    return digests.of_json([LAYOUT, columns.digest(rows), space.model_dump(mode="json")])[:16]


# ----------------------------------------------------------------------------------------------------------- into files


def build_items(parts: Sequence[Part], bucket: Bucket, known: Known, pool: Pool) -> None:
    """Write those parts of items of one bucket that are not in the pool, but whose latents are."""
    with pool.one_at_a_time("items"):
        for part in parts:
            if not pool.digest(part.name):
                ids = keys.of(part.facts["latent_id"])
                data, stored = pool.read(_all(known.find(ids), part.name))
                writing.write_items(pool.path(part.name), pool.space, bucket, part.facts, data, stored)
                pool.keep(part.name, Ids(keys=ids, counts=np.ones(len(ids), np.int32)))


def has_captions(part: Part, pool: Pool) -> bool:
    """Is a part of captions in the pool, and its text?"""
    return bool(pool.digest(part.name) and pool.digest(text_of(part.name)))


def build_captions(parts: Sequence[Part], known: Known, pool: Pool) -> None:
    """Write those parts of captions that are not in the pool, but whose texts are: a part and its text."""
    with pool.one_at_a_time("captions"):
        for part in parts:
            if not has_captions(part, pool):
                _build_captions(part, known, pool)


def _build_captions(part: Part, known: Known, pool: Pool) -> None:
    ids = keys.of(part.facts["text_id"])
    found = _all(known.find(ids), part.name)
    data, stored = pool.read(found)
    tokens = pa.array(found.count, pa.int64())
    facts = part.facts.append_column("tokens", tokens).append_column("text_digest", pa.array(stored, pa.string()))
    writing.write_text(pool.path(text_of(part.name)), pool.space, facts, data)
    writing.write_captions(pool.path(part.name), pool.space, facts)
    pool.keep(text_of(part.name))
    pool.keep(part.name, Ids(keys=ids, counts=found.count.astype(np.int32)))


def build_prompts(part: Part, pool: Pool) -> None:
    """Write a part of prompts if it is not in the pool."""
    if not pool.digest(part.name):
        writing.write_prompts(pool.path(part.name), pool.space, part.facts)
        pool.keep(part.name)


def _all(found: Found, name: str) -> Found:
    if len(found.missing):
        raise Refused(f"{name}: {len(found.missing)} of its rows are in the pool no more; run `dvc repro` again")
    return found
