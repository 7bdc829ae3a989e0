"""Rows in order to parts with names, and the parts that are not in the pool yet to files there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from frostline import digests
from frostline.caching import cutting
from frostline.caching.pool import Pool
from frostline.contract import LatentSpace
from frostline.store import writing
from frostline.store.layout import CAPTIONS, EMBEDDING, ITEMS, LATENT, PROMPTS, TEXT, bucket_name

LAYOUT = 2  # raise when the bytes of a part change for the same rows
CHARACTERS = 4  # of a caption in a token, about: texts are cut before their tokens are known


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some rows in order, named by what they are."""

    name: str  # relative to the cache's folder, and to the pool's
    facts: pa.Table
    bucket: tuple[int, int, int] | None = None


def item_parts(facts: pa.Table, bucket: tuple[int, int, int], width: int, space: LatentSpace) -> list[Part]:
    """Items of one bucket, ``width`` bytes each, cut into parts."""
    folder, parts = f"{ITEMS}/{bucket_name(bucket)}", _cut(facts, "id", np.full(len(facts), width))
    return [Part(name=f"{folder}/{_name(part, space)}.parquet", facts=part, bucket=bucket) for part in parts]


def caption_parts(captions: pa.Table, space: LatentSpace) -> list[Part]:
    """Captions (text_id, caption), cut into parts."""
    lengths = np.array([len(caption.encode()) for caption in captions["caption"].to_pylist()])
    sizes = (lengths // CHARACTERS + 2) * space.text_dim * 4
    parts = _cut(captions, "text_id", sizes)
    return [Part(name=f"{CAPTIONS}/{_name(part, space)}.parquet", facts=part) for part in parts]


def prompt_parts(prompts: pa.Table, space: LatentSpace) -> list[Part]:
    """Prompts without media, cut into parts."""
    sizes = np.array([len(caption.encode()) for caption in prompts["caption"].to_pylist()], np.int64) + 100
    return [Part(name=f"{PROMPTS}/{_name(part, space)}.parquet", facts=part) for part in _cut(prompts, "id", sizes)]


def text_of(captions: str) -> str:
    """The name of the text part of a captions part."""
    return captions.replace(CAPTIONS, TEXT, 1)


def build_items(parts: Sequence[Part], pool: Pool) -> None:
    """Write those parts of items of one bucket that are not in the pool, but whose latents are."""
    with pool.one_at_a_time("items"):
        _build_items([part for part in parts if not pool.digest(part.name)], pool)


def _build_items(parts: Sequence[Part], pool: Pool) -> None:
    if not parts:
        return
    ids = pa.concat_arrays([part.facts["latent_id"].combine_chunks() for part in parts])
    found, start = pool.latents(ids, bucket_name(parts[0].bucket or ())), 0
    for part in parts:
        rows = slice(start, start + len(part.facts))
        data = pool.read(found, rows, LATENT)
        stored = [digest or "" for digest in found.digest[rows]]
        writing.write_items(pool.path(part.name), pool.space, part.bucket or (), part.facts, data, stored)
        pool.keep(part.name)
        start = rows.stop


def build_captions(parts: Sequence[Part], pool: Pool) -> None:
    """Write those parts of captions that are not in the pool, but whose texts are: a part and its text."""
    with pool.one_at_a_time("captions"):
        _build_captions([part for part in parts if not has_captions(part, pool)], pool)


def has_captions(part: Part, pool: Pool) -> bool:
    """Is a part of captions in the pool, and its text?"""
    return bool(pool.digest(part.name) and pool.digest(text_of(part.name)))


def _build_captions(parts: Sequence[Part], pool: Pool) -> None:
    if not parts:
        return
    found, start = pool.texts(pa.concat_arrays([part.facts["text_id"].combine_chunks() for part in parts])), 0
    for part in parts:
        rows = slice(start, start + len(part.facts))
        data = pool.read(found, rows, EMBEDDING)
        tokens = pa.array(found.count[rows], pa.int64())
        facts = part.facts.append_column("tokens", tokens).append_column("text_digest", pa.array(found.digest[rows]))
        writing.write_text(pool.path(text_of(part.name)), pool.space, facts, data)
        writing.write_captions(pool.path(part.name), pool.space, facts)
        for name in (text_of(part.name), part.name):
            pool.keep(name)
        start = rows.stop


def build_prompts(parts: Sequence[Part], pool: Pool) -> None:
    """Write those parts of prompts that are not in the pool."""
    for part in (part for part in parts if not pool.digest(part.name)):
        writing.write_prompts(pool.path(part.name), pool.space, part.facts)
        pool.keep(part.name)


def _cut(rows: pa.Table, key: str, sizes: np.ndarray) -> list[pa.Table]:
    ends = cutting.ends(rows[key].to_pylist(), sizes)
    return [rows.slice(start, end - start).combine_chunks() for start, end in zip([0, *ends], ends, strict=False)]


def _name(rows: pa.Table, space: LatentSpace) -> str:
    """A digest of what a part holds: its rows in Arrow's stream format, and the latent space."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    held = digests.of_bytes(memoryview(sink.getvalue()))
    return digests.of_json([LAYOUT, held, space.model_dump(mode="json")])[:16]
