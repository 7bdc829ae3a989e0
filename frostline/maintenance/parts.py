"""One part of a cache: is it what its name and the manifest say, as far as opening it tells?"""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from frostline.caching.pool import LATENTS
from frostline.contract import LatentSpace
from frostline.errors import FrostlineError, Refused
from frostline.maintenance import findings
from frostline.maintenance.caches import Cache, ListedPart
from frostline.maintenance.findings import Finding
from frostline.store import far, layout, payloads
from frostline.store.far import Where
from frostline.store.layout import (
    CAPTIONS,
    DTYPES,
    EMBEDDING,
    ITEMS,
    LATENT,
    PROMPTS,
    TEXT,
    Caption,
    Item,
    Prompt,
)
from frostline.store.payloads import Tensors

NAME = re.compile(r"(items/\d+x\d+x\d+|prompts|captions|text)/[0-9a-f]{16}\.parquet")
ALL = {
    ITEMS: (*layout.schema(Item).names, "latent_digest", "vae_digest", LATENT),
    PROMPTS: tuple(layout.schema(Prompt).names),
    CAPTIONS: tuple(layout.schema(Caption).names),
    TEXT: ("text_id", "token", EMBEDDING),
}
FACTS = {
    ITEMS: ("id", "latent_id", "split", "text_ids", "text_lengths", "weights"),
    PROMPTS: ("id", "split", "text_id", "text_length"),
    CAPTIONS: ("text_id", "tokens"),
    TEXT: (),
}
SPOILED = (OSError, ValueError, LookupError, StopIteration, MemoryError, pa.ArrowException)
UNREADABLE = (FrostlineError, *SPOILED)
"""What opening or reading a parquet file of flipped bits was seen to raise"""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A part that opens."""

    rows: int
    facts: pa.Table  # FACTS of its kind; no columns of a text


def look(part: ListedPart, path: Path, space: LatentSpace) -> Opened | Finding:
    """Open a listed part of this latent space as a training does, or say why it cannot be."""
    if not NAME.fullmatch(part.name):
        return findings.damaged(path, "no name of a part: items/5x32x32/0123456789abcdef.parquet is one")
    if not path.is_file():
        return findings.damaged(path, "missing")
    if (size := path.stat().st_size) != part.bytes:
        return findings.damaged(path, f"has {size} bytes where the manifest says {part.bytes}")
    try:
        opened = _opened(path, part.name, space)
    except UNREADABLE as error:
        return findings.damaged(path, said(error, path))
    if opened.rows != part.rows:
        return findings.damaged(path, f"has {opened.rows} rows where the manifest says {part.rows}")
    return opened


def look_far(part: ListedPart, cache: Cache) -> Opened | Finding:
    """Open a listed part in a store, or say why it cannot be; raises where the store does not do as it should."""
    path = cache.path(part)
    if not NAME.fullmatch(part.name):
        return findings.damaged(path, "no name of a part: items/5x32x32/0123456789abcdef.parquet is one")
    if part.name not in cache.objects:
        return findings.damaged(path, f"missing at {cache.address}")
    if (size := cache.objects[part.name].size) != part.bytes:
        return findings.damaged(path, f"has {size} bytes at {cache.address} where the manifest says {part.bytes}")
    try:
        opened = _opened(cache.where(part.name), part.name, cache.space)
    except (Refused, *SPOILED) as error:
        return findings.damaged(path, said(error, path))
    if opened.rows != part.rows:
        return findings.damaged(path, f"has {opened.rows} rows where the manifest says {part.rows}")
    return opened


def kind(path: Path) -> str:
    """What a part of a cache, or a file of the pool, holds: items, prompts, captions, text, or fresh latents."""
    return ITEMS if path.parts[-3] == ITEMS else path.parent.name


def require_whole(path: Path) -> None:
    """Open a file of the pool, of any latent space; raises one of UNREADABLE if that cannot be."""
    if kind(path) in (ITEMS, LATENTS, TEXT):
        payloads.open_payload(path, EMBEDDING if kind(path) == TEXT else LATENT, None)
    else:
        payloads.columns(path, FACTS[kind(path)], None)


def _opened(path: Where, name: str, space: LatentSpace) -> Opened:
    kind, *bucket, _ = name.split("/")
    if absent := sorted(set(ALL[kind]) - set(payloads.schema(path).names)):
        raise Refused(f"lacks {absent}: another kind of part, or of another version of Frostline")
    if kind in (PROMPTS, CAPTIONS):
        facts = payloads.columns(path, FACTS[kind], space)
        return Opened(rows=len(facts), facts=facts)
    payload = payloads.open_payload(path, LATENT if kind == ITEMS else EMBEDDING, space)
    expected = _tensors(space, bucket[0] if bucket else None)
    if payload.tensors != expected:
        raise Refused(f"its rows are {_words(payload.tensors)}, those of its name are {_words(expected)}")
    facts = payloads.columns(path, FACTS[kind], space) if kind == ITEMS else pa.table({})
    return Opened(rows=payload.rows, facts=facts)


def _tensors(space: LatentSpace, bucket: str | None) -> Tensors:
    """What the rows of a part are: latents of a bucket, or the tokens of texts."""
    if bucket is None:
        return Tensors(shape=(space.text_dim,), dtype=DTYPES[space.text_stored_dtype])
    return Tensors(shape=space.shape(layout.bucket_of(bucket)), dtype=DTYPES[space.stored_dtype])


def _words(tensors: Tensors) -> str:
    return f"{tensors.dtype} {'x'.join(map(str, tensors.shape))}"


def said(error: Exception, path: Path) -> str:
    """What an error says of a file, on one line, without the file's name and the store's own remedy."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, FrostlineError):
        return f"cannot be read ({text.rstrip('.')})"
    return text.removeprefix(f"{path}: ").removesuffix(layout.REMEDY).removesuffix(far.REMEDY).rstrip("; ")
