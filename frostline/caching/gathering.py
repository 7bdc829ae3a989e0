"""What a cache is to hold: the rows of a manifest as items, prompts and texts, each in its order, with their ids.

Items are ordered by (bucket, source item, id), texts by the first source item that has them: what is added as one
source item is added in one place. The manifest passes twice, some thousands of rows at a time; what is kept of all rows
in memory is half an id of each.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from frostline.caching import columns, sorting, wanted
from frostline.caching.sorting import Key, Sorter
from frostline.contract import LatentSpace
from frostline.manifest import Columns, Row, Rows, bucket_name
from frostline.params import CacheParams
from frostline.store import keys, payloads
from frostline.store.layout import compute

ORDER = ("frames", "height", "width", "item", "id")
TEXT_ORDER = ("whose", "item", "text_id")
FIRST_ORDER = ("text_id", "whose", "item", "caption")  # the first of these tells a text's place, and how it is written
NULL, BESIDE, OF_ITEM = 0, 1, 2  # whose a text is; the order they come in
SAMPLED = 1 << 16  # rows that are looked at, at most, to tell where stretches of the order end
CHARACTERS = 4  # of a caption in a token, about: texts are cut before their tokens are known
EVERY = 64  # of so many rows, one is looked at if there are few
Bucket = tuple[int, int, int]


@dataclass(kw_only=True)
class Gathered:
    """What a cache is to hold, but for what encoding tells: the tokens of texts."""

    shown: Sorter  # rows with something to see, as Row, and latent_id, text_ids
    prompts: Sorter  # rows without media, as Row, and text_ids
    texts: Sorter  # text_id, caption, whose, item: each text once
    previews: dict[str, str]  # text ids of the preview prompts
    negative: dict[str, str]  # text id of what guidance steers away from, where that is not the null prompt
    repeated: np.ndarray  # first halves of the ids of latents that several rows may have, in order; uint64 (n,)
    buckets: dict[Bucket, int] = field(default_factory=dict[Bucket, int])  # rows of each, those that are shown
    counts: dict[str, int] = field(default_factory=dict[str, int])  # rows by bucket and split: ``5x32x32/train``
    caption_bytes: int = 0  # of all texts, as caption_sizes counts them
    prompt_bytes: int = 0  # of all prompts, as prompt_sizes counts them


@contextlib.contextmanager
def gathered(rows: Rows, space: LatentSpace, params: CacheParams, device: str, folder: Path) -> Iterator[Gathered]:
    """What the cache of a manifest is to hold in a latent space, encoded on a device: cpu or cuda.

    ``folder`` is on a disk with room for the manifest, unpacked.
    """
    shown, prompts = _sample(rows)
    items = [(OF_ITEM, key[3], "") for key in (*shown, *prompts)]
    with (
        Sorter(folder, ORDER, sorting.bounds(shown, len(rows))) as shown_rows,
        Sorter(folder, ORDER, sorting.bounds(prompts, len(rows))) as prompt_rows,
        Sorter(folder, TEXT_ORDER, sorting.bounds(items, len(rows))) as texts,
    ):
        what = Gathered(
            shown=shown_rows,
            prompts=prompt_rows,
            texts=texts,
            previews={one: wanted.text_id(one, space, params, device) for one in params.preview_prompts},
            negative={one: wanted.text_id(one, space, params, device) for one in _negative(params)},
            repeated=np.zeros(0, np.uint64),
        )
        with Sorter(folder, FIRST_ORDER, sorting.even_bounds(len(rows)), once=True) as found:
            found.add(_others(what.previews | what.negative, space, params, device))
            _deal(rows, space, params, device, what, found)
            for distinct in found.tables():
                what.caption_bytes += int(caption_sizes(distinct, space).sum())
                texts.add(distinct)
        yield what


def latent_ids(rows: Rows, space: LatentSpace, params: CacheParams, device: str) -> Iterator[pa.Array]:
    """The latent ids that a cache of rows has, some thousands of rows at a time; some come several times."""
    for part in rows.parts():
        shown, _ = _apart(part.table)
        yield wanted.of_rows(Columns(Row, shown), space, params, device)


def text_ids(rows: Rows, space: LatentSpace, params: CacheParams, device: str) -> Iterator[pa.Array]:
    """The text ids likewise."""
    others = pa.array([space.null_prompt, *params.preview_prompts, *_negative(params)], pa.string())
    yield wanted.of_captions(others, space, params, device)
    for part in rows.parts():
        yield _flat(_with_texts(part.table, space, params, device), "text_ids")


def caption_sizes(texts: pa.Table, space: LatentSpace) -> np.ndarray:
    """Bytes of the tensors of texts, int64 (n,), about: their tokens are not known yet."""
    return (_lengths(texts["caption"]) // CHARACTERS + 2) * space.text_dim * 4


def prompt_sizes(prompts: pa.Table) -> np.ndarray:
    """Bytes of prompts, int64 (n,), about."""
    return _lengths(prompts["caption"]) + 100


def _lengths(texts: pa.ChunkedArray) -> np.ndarray:
    """Bytes of texts."""
    return payloads.numbers(compute.binary_length(texts)).astype(np.int64)


def _sample(rows: Rows) -> tuple[list[Key], list[Key]]:
    """Keys of some rows that are shown, and of some prompts."""
    every, seen = max(EVERY, len(rows) // SAMPLED), 0
    found: tuple[list[Key], list[Key]] = ([], [])
    for part in rows.parts([*ORDER, "medium"]):
        places = np.arange(-seen % every, len(part), every)
        seen += len(part)
        values = [part.table[name].take(places).to_pylist() for name in (*ORDER, "medium")]
        for *key, medium in zip(*values, strict=True):
            found[medium == "prompt"].append(tuple(key))
    return found


def _deal(rows: Rows, space: LatentSpace, params: CacheParams, device: str, what: Gathered, texts: Sorter) -> None:
    """Give every row its ids and its place."""
    halves, taken = np.empty(len(rows), np.uint64), 0
    for part in rows.parts():
        table = _with_texts(part.table, space, params, device)
        texts.add(_texts_of(table))
        shown, prompts = _apart(table)
        latents = wanted.of_rows(Columns(Row, shown), space, params, device)
        halves[taken : taken + len(latents)] = keys.of(latents)[:, 0]
        taken += len(latents)
        _count(part.table, shown, what)
        what.prompt_bytes += int(prompt_sizes(prompts.append_column("caption", _flat(prompts, "captions"))).sum())
        if len(shown):
            what.shown.add(shown.append_column("latent_id", latents))
        if len(prompts):
            what.prompts.add(prompts)
    halves = halves[:taken]
    halves.sort()
    what.repeated = np.unique(halves[1:][halves[1:] == halves[:-1]])
    what.counts = dict(sorted(what.counts.items()))


def _with_texts(table: pa.Table, space: LatentSpace, params: CacheParams, device: str) -> pa.Table:
    """Rows, and a column with the text id of each caption."""
    captions = _flat(table, "captions").dictionary_encode()
    ids = wanted.of_captions(captions.dictionary, space, params, device)
    lists = pa.ListArray.from_arrays(pa.array(_offsets(table, "captions")), ids.take(captions.indices))
    return table.append_column("text_ids", lists)


def _apart(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows with something to see, and prompts."""
    is_prompt = compute.equal(table["medium"], columns.text("prompt"))
    if not compute.any(is_prompt).as_py():
        return table, table.slice(0, 0)
    places = (compute.indices_nonzero(one) for one in (compute.invert(is_prompt), is_prompt))
    shown, prompts = map(table.take, places)  # Table.filter would load pandas
    return shown, prompts


def _texts_of(table: pa.Table) -> pa.Table:
    """The texts of rows."""
    counts = np.diff(_offsets(table, "captions"))
    return pa.Table.from_pydict(
        {
            "text_id": _flat(table, "text_ids"),
            "caption": _flat(table, "captions"),
            "whose": pa.array(np.full(int(counts.sum()), OF_ITEM, np.int8)),
            "item": table["item"].combine_chunks().take(pa.array(np.repeat(np.arange(len(table)), counts))),
        }
    )


def _negative(params: CacheParams) -> list[str]:
    """What guidance steers away from, where that is not the null prompt."""
    return [] if params.negative_prompt is None else [params.negative_prompt]


def _others(ids: dict[str, str], space: LatentSpace, params: CacheParams, device: str) -> pa.Table:
    """The null prompt and prompts of no item, with their text ids."""
    null = wanted.text_id(space.null_prompt, space, params, device)
    return pa.Table.from_pydict(
        {
            "text_id": pa.array([null, *ids.values()], pa.string()),
            "caption": pa.array([space.null_prompt, *ids], pa.string()),
            "whose": pa.array([NULL, *[BESIDE] * len(ids)], pa.int8()),
            "item": pa.array([""] * (1 + len(ids)), pa.string()),
        }
    )


def _count(table: pa.Table, shown: pa.Table, what: Gathered) -> None:
    """Count rows by bucket and split, and those that are shown by bucket."""
    for (*bucket, split), count in _counted(table, "frames", "height", "width", "split"):
        name = f"{bucket_name(_bucket(bucket))}/{split}"
        what.counts[name] = what.counts.get(name, 0) + count
    for bucket, count in _counted(shown, "frames", "height", "width"):
        what.buckets[_bucket(bucket)] = what.buckets.get(_bucket(bucket), 0) + count


def _counted(table: pa.Table, *names: str) -> list[tuple[list[str], int]]:
    """How often some columns, which have no spaces, have which values together."""
    found = compute.value_counts(columns.joined(*(table[name] for name in names))).to_pylist()
    return [(one["values"].split(" "), one["counts"]) for one in found]


def _bucket(sides: Sequence[str]) -> Bucket:
    frames, height, width = map(int, sides)
    return frames, height, width


def _offsets(table: pa.Table, name: str) -> np.ndarray:
    """Where each list of a column begins among all values, and their end; int32 (n + 1,)."""
    counts = payloads.numbers(compute.list_value_length(table[name]))
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _flat(table: pa.Table, name: str) -> pa.Array:
    """The values of all lists of a column."""
    flat = compute.list_flatten(table[name])
    return flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
