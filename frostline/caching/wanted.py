"""What is wanted has an id: a digest of all that a latent, or a text, depends on to its last bit (docs/latents.md)."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from frostline import codec as codecs
from frostline import digests, tiling
from frostline.caching import columns
from frostline.contract import LatentSpace
from frostline.manifest import Columns, Row, alteration
from frostline.params import CacheParams
from frostline.store import payloads
from frostline.store.layout import compute
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


def apart(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows with something to see, and prompts: rows without media."""
    prompts = [row for row in rows if row.medium == "prompt"]
    return [row for row in rows if row.medium != "prompt"], prompts


def latent_id(row: Row, space: LatentSpace, params: CacheParams, device: str) -> str:
    """Digest of everything the stored latent depends on, to its last bit: see docs/latents.md."""
    return of_rows(Columns.of(Row, [row]), space, params, device)[0].as_py()


def latent_ids(row: Row, space: LatentSpace, params: CacheParams) -> list[str]:
    """The id of a row's latent from each kind of device; a cache holds one of them."""
    return [latent_id(row, space, params, device) for device in DEVICES]


def text_ids(caption: str, space: LatentSpace, params: CacheParams) -> list[str]:
    """The id of a caption's embedding from each kind of device; a cache holds one of them."""
    return [text_id(caption, space, params, device) for device in DEVICES]


def text_id(caption: str, space: LatentSpace, params: CacheParams, device: str) -> str:
    """Digest of everything a caption's embedding depends on, to its last bit."""
    return of_captions(pa.array([caption], pa.string()), space, params, device)[0].as_py()


def of_captions(captions: pa.Array, space: LatentSpace, params: CacheParams, device: str) -> pa.Array:
    """The text ids of many captions; several captions may be read as one text."""
    return columns.digests(columns.joined(_how_text(space, params, device), _cleaned(captions)))


def of_rows(rows: Columns[Row], space: LatentSpace, params: CacheParams, device: str) -> pa.Array:
    """The latent ids of many rows."""
    table = rows.table
    sizes = list(zip(rows.values("height"), rows.values("width"), strict=True))
    ways = {size: _how_latent(*size, space, params, device) for size in set(sizes)}
    how = pa.array([ways[size] for size in sizes], pa.string())
    crop = payloads.numbers(compute.list_flatten(table["crop"])).reshape(-1, 4)
    corners = compute.binary_join_element_wise(
        *(pa.array(place).cast(pa.string()) for place in crop.T), columns.text(", ")
    )
    crops = compute.binary_join_element_wise(columns.text("["), corners, columns.text("]"), columns.text(""))
    numbers = (table[name] for name in ("frames", "height", "width"))
    texts = columns.joined(how, table["content"], table["start"], crops, *numbers)
    return columns.digests(compute.binary_join_element_wise(texts, _altered(rows), columns.text("")))


def tiled(height: int, width: int, space: LatentSpace, params: CacheParams) -> Tiling:
    """How frames of a bucket are cut for encoding."""
    return tiling.chosen(height, width, most_pixels=params.most_pixels, stride=space.spatial_stride)


def _how_text(space: LatentSpace, params: CacheParams, device: str) -> str:
    facts = [space.text_encoder_digest, space.text_length, space.text_stored_dtype]
    return digests.of_json([*facts, params.text_batch, _computed_on(device, params)])


def _computed_on(device: str, params: CacheParams) -> int | str:
    """What rounds the last bits: the threads of a CPU, which a GPU does not ask."""
    return params.threads if device == "cpu" else device


def _how_latent(height: int, width: int, space: LatentSpace, params: CacheParams, device: str) -> str:
    facts = {key: value for key, value in space.model_dump(mode="json").items() if key not in SAME_FOR_THE_LATENT}
    cut, on = tiled(height, width, space, params).key(), _computed_on(device, params)
    return digests.of_json([facts, cut, PREPROCESSING, params.encode_batch, on])


def _altered(rows: Columns[Row]) -> pa.Array:
    """What each row shows otherwise than the frames from its start on as they are: JSON, or nothing."""
    table, found = rows.table, [""] * len(rows)
    shown = payloads.numbers(compute.list_value_length(table["shown"])) > 0
    flip = np.array(rows.values("flip"), bool)
    for place in np.flatnonzero(shown | flip).tolist():
        start, frames = table["start"][place].as_py(), table["shown"][place].as_py()
        if altered := alteration(start, frames, flip=bool(flip[place])):
            found[place] = digests.canonical(altered)
    return pa.array(found, pa.string())


def _cleaned(captions: pa.Array) -> pa.Array:
    """Captions as codec.clean gives them; most have nothing to mend but their spaces, and are told by the column."""
    plain = compute.and_(compute.ascii_is_printable(captions), compute.invert(compute.match_substring(captions, "&")))
    spaced = compute.replace_substring_regex(compute.ascii_trim(captions, " "), " +", " ")
    if compute.all(plain).as_py():
        return spaced
    mended = [codecs.clean(caption) for caption in captions.filter(compute.invert(plain)).to_pylist()]
    return compute.replace_with_mask(spaced, compute.invert(plain), pa.array(mended, pa.string()))
