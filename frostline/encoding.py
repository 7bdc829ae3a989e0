"""From a manifest to a cache: every wanted item through the frozen VAE once, every distinct caption through the text
encoder once.

Finished parts stay in the work folder, so a killed run goes on after the last of them. Every VAE call has the same
number of items, the last one padded: the bits of a latent depend on the batch's size, not on its neighbours.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import tqdm
from torch import Tensor, nn

from frostline import codec as codecs
from frostline import digests, store
from frostline.codec import Codec
from frostline.contract import LatentSpace
from frostline.errors import Refused, WrongUse
from frostline.manifest import Row
from frostline.params import CacheParams
from frostline.store import Item, Prompt

PREPROCESSING = 1  # raise when the way from file to pixels changes what it gives
SAME_FOR_THE_LATENT = (
    "latents_mean",
    "latents_std",
    "text_encoder_digest",
    "text_dim",
    "text_length",
    "text_padding",
    "null_prompt",
)
PROMPTS = "prompts"  # stands where the bucket does in the counts of rows without media

T = TypeVar("T")
Pixels = Callable[[Row], np.ndarray]
"""row -> uint8 (T, H, W, 3) at the row's bucket"""


@dataclass(frozen=True, kw_only=True)
class TextPlace:
    """Where a caption's tokens lie in the text part."""

    id: str
    offset: int
    length: int


def write_source(rows: Sequence[Row], pixels: Pixels, codec: Codec, params: CacheParams, work: Path) -> dict[str, Any]:
    """Fill ``work`` with the cache of one source; returns its manifest.

    Raises WrongUse for an empty manifest, Refused if the VAE gives something that is no number.
    """
    if not rows:
        raise WrongUse("the manifest has no rows: look at its rejected.parquet for the reasons")
    shown, prompts = apart(rows)
    places = _write_texts(rows, codec, params, work)
    if prompts:
        _write_prompts(prompts, places, codec.latent_space, work)
    with tqdm.tqdm(total=len(shown), desc="encoding", unit="item", mininterval=2.0) as bar:
        for bucket, members in _buckets(shown):
            _write_bucket(bucket, members, places, pixels, codec, params, work, bar)
    counts = Counter(f"{store.bucket_name(row.bucket)}/{row.split}" for row in shown)
    counts += Counter(f"{PROMPTS}/{row.split}" for row in prompts)
    facts = {
        "rows": dict(sorted(counts.items())),
        "prompts": {prompt: [places[prompt].offset, places[prompt].length] for prompt in params.preview_prompts},
        "frozen_parameters": {"vae": _count(codec.vae), "text_encoder": _count(codec.text_encoder)},
    }
    return store.seal(work, codec.latent_space, facts)


def apart(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows with something to see, and prompts: rows without media."""
    prompts = [row for row in rows if row.medium == "prompt"]
    return [row for row in rows if row.medium != "prompt"], prompts


def latent_id(row: Row, space: LatentSpace) -> str:
    """Digest of everything the stored latent depends on."""
    facts = {key: value for key, value in space.model_dump(mode="json").items() if key not in SAME_FOR_THE_LATENT}
    return digests.of_json(
        [row.content, row.start, list(row.crop), list(row.bucket), facts, "untiled", PREPROCESSING, *row.alteration]
    )


def text_id(caption: str, space: LatentSpace) -> str:
    """Digest of everything a caption's embedding depends on."""
    return digests.of_json([codecs.clean(caption), space.text_encoder_digest, space.text_length, "float32"])


def _write_texts(rows: Sequence[Row], codec: Codec, params: CacheParams, work: Path) -> dict[str, TextPlace]:
    """Encode the null prompt and every distinct caption and preview prompt, in that order."""
    space = codec.latent_space
    others = sorted({caption for row in rows for caption in row.captions} | set(params.preview_prompts))
    captions = [space.null_prompt, *(caption for caption in others if caption != space.null_prompt)]
    texts = [text for part in _parts(captions, params.text_batch) for text in _texts(part, codec, params)]
    ids = [text_id(caption, space) for caption in captions]
    starts = itertools.accumulate((len(text) for text in texts), initial=0)
    store.write_text(work / "text" / "part-00000.parquet", space, ids, texts)
    return {
        caption: TextPlace(id=id_, offset=start, length=len(text))
        for caption, id_, start, text in zip(captions, ids, starts, texts, strict=False)
    }


def _texts(captions: Sequence[str], codec: Codec, params: CacheParams) -> list[Tensor]:
    filled = [*captions, *[captions[-1]] * (params.text_batch - len(captions))]
    return codec.encode_text(filled)[: len(captions)]


def _buckets(rows: Sequence[Row]) -> Iterable[tuple[tuple[int, int, int], list[Row]]]:
    ordered = sorted(rows, key=lambda row: (row.bucket, row.item, row.id))
    return ((bucket, list(members)) for bucket, members in itertools.groupby(ordered, key=lambda row: row.bucket))


def _write_bucket(
    bucket: tuple[int, int, int],
    rows: Sequence[Row],
    places: dict[str, TextPlace],
    pixels: Pixels,
    codec: Codec,
    params: CacheParams,
    work: Path,
    bar: "tqdm.tqdm[Any]",
) -> None:
    space = codec.latent_space
    width = math.prod(space.shape(bucket)) * store.DTYPES[space.stored_dtype].itemsize
    for number, part in enumerate(_parts(rows, max(1, store.PART_BYTES // width))):
        path = work / "items" / store.bucket_name(bucket) / f"part-{number:05d}.parquet"
        if not path.exists():
            size = params.encode_batch
            raw = [_encode(batch, pixels, codec, size, bar) for batch in _parts(part, size)]
            store.write_items(path, space, [_item(row, space, places) for row in part], torch.cat(raw))
        else:
            bar.update(len(part))


def _encode(rows: Sequence[Row], pixels: Pixels, codec: Codec, size: int, bar: "tqdm.tqdm[Any]") -> Tensor:
    """Raw latents (len(rows), C, T', H', W'), encoded as a batch of ``size``."""
    stacked = torch.from_numpy(np.stack([pixels(row) for row in rows]))
    padded = torch.cat([stacked, stacked[-1:].expand(size - len(rows), *stacked.shape[1:])])
    raw = codec.encode(padded)[: len(rows)]
    if not torch.isfinite(raw).all():
        raise Refused(f"{codec.base / 'vae'}: gives numbers that are not finite for one of {[row.id for row in rows]}")
    bar.update(len(rows))
    return raw


def _item(row: Row, space: LatentSpace, places: dict[str, TextPlace]) -> Item:
    texts = [places[caption] for caption in row.captions]
    return Item(
        id=latent_id(row, space),
        item=row.item,
        split=row.split,
        start=row.start,
        source_width=row.source_width,
        source_height=row.source_height,
        source_frames=row.source_frames,
        source_fps=row.source_fps,
        captions=row.captions,
        weights=row.weights,
        attributes=row.attributes,
        text_ids=tuple(text.id for text in texts),
        text_offsets=tuple(text.offset for text in texts),
        text_lengths=tuple(text.length for text in texts),
    )


def _write_prompts(rows: Sequence[Row], places: dict[str, TextPlace], space: LatentSpace, work: Path) -> None:
    prompts = [_prompt(row, places) for row in sorted(rows, key=lambda row: (row.item, row.id))]
    store.write_prompts(work / "prompts" / "part-00000.parquet", space, prompts)


def _prompt(row: Row, places: dict[str, TextPlace]) -> Prompt:
    (caption,) = row.captions
    text = places[caption]
    return Prompt(
        id=row.id,
        split=row.split,
        caption=caption,
        text_id=text.id,
        text_offset=text.offset,
        text_length=text.length,
    )


def _parts(rows: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
