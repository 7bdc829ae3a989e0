"""What a cache is to hold: the rows of a manifest as items, prompts and captions, each in its order, with their ids.

Items are ordered by (bucket, source item, id), captions by the first source item that has them: what is added as one
source item is added in one place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from frostline import codec as codecs
from frostline import digests, tiling
from frostline.contract import LatentSpace
from frostline.manifest import Columns, Row, alteration
from frostline.params import CacheParams
from frostline.store import layout
from frostline.store.layout import Item, Prompt, compute
from frostline.tiling import Tiling

DEVICES = ("cpu", "cuda")
PREPROCESSING = 1  # raise when the way from file to pixels changes what it gives
SAME_FOR_THE_LATENT = (
    "latents_mean",
    "latents_std",
    "text_encoder_digest",
    "text_dim",
    "text_length",
    "text_stored_dtype",
    "text_padding",
    "null_prompt",
)
ORDER = [(name, "ascending") for name in ("frames", "height", "width", "item", "id")]
NULL, PREVIEW, OF_ITEM = 0, 1, 2  # whose a caption is; the order they come in


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a cache is to hold, but for what encoding tells: the tokens of texts."""

    shown: Columns[Row]  # the rows with something to see, in the cache's order
    latent_ids: pa.Array  # of each of them
    prompts: Columns[Row]  # rows without media, in theirs
    captions: pa.Table  # text_id, caption: each text once, the null prompt first
    text_ids: pa.Table  # caption, text_id: of every caption there is
    previews: dict[str, str]  # text ids of the preview prompts


def of(rows: Columns[Row], space: LatentSpace, params: CacheParams, device: str) -> Wanted:
    """What the cache of a manifest is to hold in a latent space, encoded on a device: cpu or cuda."""
    previews = params.preview_prompts
    is_prompt = compute.equal(rows.table["medium"], "prompt")
    shown = Columns(Row, rows.table.filter(compute.invert(is_prompt)).sort_by(ORDER).combine_chunks())
    prompts = Columns(Row, rows.table.filter(is_prompt).sort_by(ORDER).combine_chunks())
    ids = _text_ids(rows, space, params, device)
    return Wanted(
        shown=shown,
        latent_ids=pa.array(_latent_ids(shown, space, params, device), pa.string()),
        prompts=prompts,
        captions=_captions(rows, ids, space, previews),
        text_ids=ids,
        previews=dict(zip(previews, _lookup(pa.array(previews, pa.string()), ids, "text_id").to_pylist(), strict=True)),
    )


def apart(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows with something to see, and prompts: rows without media."""
    prompts = [row for row in rows if row.medium == "prompt"]
    return [row for row in rows if row.medium != "prompt"], prompts


def latent_id(row: Row, space: LatentSpace, params: CacheParams, device: str) -> str:
    """Digest of everything the stored latent depends on, to its last bit: see docs/latents.md."""
    return _latent_ids(Columns.of(Row, [row]), space, params, device)[0]


def latent_ids(row: Row, space: LatentSpace, params: CacheParams) -> list[str]:
    """The id of a row's latent from each kind of device; a cache holds one of them."""
    return [latent_id(row, space, params, device) for device in DEVICES]


def text_ids(caption: str, space: LatentSpace, params: CacheParams) -> list[str]:
    """The id of a caption's embedding from each kind of device; a cache holds one of them."""
    return [text_id(caption, space, params, device) for device in DEVICES]


def text_id(caption: str, space: LatentSpace, params: CacheParams, device: str) -> str:
    """Digest of everything a caption's embedding depends on, to its last bit."""
    return _text_id(caption, _how_text(space, params, device))


def tiled(height: int, width: int, space: LatentSpace, params: CacheParams) -> Tiling:
    """How frames of a bucket are cut for encoding."""
    return tiling.chosen(height, width, most_pixels=params.most_pixels, stride=space.spatial_stride)


def _how_text(space: LatentSpace, params: CacheParams, device: str) -> str:
    facts = [space.text_encoder_digest, space.text_length, space.text_stored_dtype]
    return digests.of_json([*facts, params.text_batch, _computed_on(device, params)])


def _computed_on(device: str, params: CacheParams) -> int | str:
    """What rounds the last bits: the threads of a CPU, which a GPU does not ask."""
    return params.threads if device == "cpu" else device


def _text_id(caption: str, how: str) -> str:
    return digests.of_bytes(f"{how} {codecs.clean(caption)}".encode())


def _latent_ids(rows: Columns[Row], space: LatentSpace, params: CacheParams, device: str) -> list[str]:
    names = ("content", "start", "crop", "frames", "height", "width", "shown", "flip")
    sizes = set(zip(rows.values("height"), rows.values("width"), strict=True))
    ways = {size: _how_latent(*size, space, params, device) for size in sizes}
    facts = zip(*map(rows.values, names), strict=True)
    return [_latent_id(ways[one[4], one[5]], *one) for one in facts]


def _how_latent(height: int, width: int, space: LatentSpace, params: CacheParams, device: str) -> str:
    facts = {key: value for key, value in space.model_dump(mode="json").items() if key not in SAME_FOR_THE_LATENT}
    cut, on = tiled(height, width, space, params).key(), _computed_on(device, params)
    return digests.of_json([facts, cut, PREPROCESSING, params.encode_batch, on])


def _latent_id(
    how: str,
    content: str,
    start: int,
    crop: Sequence[int],
    frames: int,
    height: int,
    width: int,
    shown: Sequence[int],
    flip: bool,
) -> str:
    text = f"{how} {content} {start} {list(crop)} {frames} {height} {width}"
    if (shown or flip) and (altered := alteration(start, shown, flip=flip)):
        text += digests.canonical(altered)
    return digests.of_bytes(text.encode())


def _text_ids(rows: Columns[Row], space: LatentSpace, params: CacheParams, device: str) -> pa.Table:
    """Every caption there is, and its text id; several captions may be read as one text."""
    others = [space.null_prompt, *params.preview_prompts]
    captions = compute.unique(pa.concat_arrays([_flat(rows, "captions"), pa.array(others, pa.string())]))
    how = _how_text(space, params, device)
    ids = [_text_id(caption, how) for caption in captions.to_pylist()]
    return pa.table({"caption": captions, "text_id": pa.array(ids, pa.string())})


def _captions(rows: Columns[Row], ids: pa.Table, space: LatentSpace, previews: Sequence[str]) -> pa.Table:
    """Each text once, in the order of (whose it is, the first item that has it, its id)."""
    items = compute.take(rows.table["item"].combine_chunks(), compute.list_parent_indices(_column(rows, "captions")))
    others = pa.array([space.null_prompt, *previews], pa.string())
    whose = [NULL] + [PREVIEW] * len(previews)
    captions = pa.concat_arrays([others, _flat(rows, "captions")])
    every = pa.table(
        {
            "text_id": _lookup(captions, ids, "text_id"),
            "caption": captions,
            "whose": pa.array(np.concatenate([whose, np.full(len(items), OF_ITEM)]).astype(np.int8)),
            "item": pa.concat_arrays([pa.array([""] * len(others), pa.string()), items]),
        }
    )
    grouped = every.group_by("text_id", use_threads=False)
    first = grouped.aggregate([("whose", "min"), ("item", "min"), ("caption", "min")])
    ordered = first.sort_by([("whose_min", "ascending"), ("item_min", "ascending"), ("text_id", "ascending")])
    return ordered.select(["text_id", "caption_min"]).rename_columns(["text_id", "caption"]).combine_chunks()


def items(wanted: Wanted, tokens: pa.Table) -> pa.Table:
    """The items as records of store.layout.Item, once the ``tokens`` of each text_id are known."""
    rows = wanted.shown
    ids = _lookup(_flat(rows, "captions"), wanted.text_ids, "text_id")
    offsets = _column(rows, "captions").offsets
    columns: dict[str, Any] = {
        "latent_id": wanted.latent_ids,
        "text_ids": pa.ListArray.from_arrays(offsets, ids),
        "text_lengths": pa.ListArray.from_arrays(offsets, _lookup(ids, tokens, "tokens")),
    }
    schema = layout.schema(Item)
    arrays = [columns[name] if name in columns else _column(rows, name) for name in schema.names]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema
    )


def prompts(wanted: Wanted, tokens: pa.Table) -> pa.Table:
    """The prompts as records of store.layout.Prompt, once the ``tokens`` of each text_id are known."""
    rows = wanted.prompts
    captions = _flat(rows, "captions")
    ids = _lookup(captions, wanted.text_ids, "text_id")
    columns = [_column(rows, "id"), _column(rows, "split"), captions, ids, _lookup(ids, tokens, "tokens")]
    return pa.Table.from_arrays(columns, schema=layout.schema(Prompt))


def _lookup(keys: pa.Array, table: pa.Table, value: str) -> pa.Array:
    """The values that stand beside keys in the first column of a table."""
    places = compute.index_in(keys, table.column(0).combine_chunks())
    return table[value].combine_chunks().take(places)


def _column(rows: Columns[Row], name: str) -> Any:
    column = rows.table[name].combine_chunks()
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _flat(rows: Columns[Row], name: str) -> pa.Array:
    return _column(rows, name).flatten()
