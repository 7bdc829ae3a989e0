"""Parts as files: the bytes of a part are a function of its rows, and a folder of parts is sealed by its manifest."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from frostline import contract as contracts
from frostline import digests, files
from frostline.contract import LatentSpace
from frostline.store import layout
from frostline.store.layout import DTYPES, EMBEDDING, LATENT, MANIFEST, Caption, Item, Prompt

ROW_GROUP_BYTES = 32 << 20
TENSOR = "frostline.tensor"  # the metadata with shape and dtype


def bytes_of(rows: Tensor) -> np.ndarray:
    """Rows of any dtype as uint8 (n, width)."""
    return rows.contiguous().view(torch.uint8).reshape(len(rows), -1).numpy()


def row_digests(data: np.ndarray) -> list[str]:
    """The digest of each row of bytes, uint8 (n, width)."""
    return [digests.of_bytes(row.data) for row in data]


def latent_bytes(raw: Tensor, space: LatentSpace) -> np.ndarray:
    """Raw latents as they are stored: uint8 (n, width)."""
    return bytes_of(raw.to(DTYPES[space.stored_dtype]))


def text_bytes(text: Tensor, space: LatentSpace) -> np.ndarray:
    """An embedding (n_tokens, D) as it is stored: uint8 (n_tokens, width)."""
    return bytes_of(text.to(DTYPES[space.text_stored_dtype]))


def write_items(
    path: Path,
    space: LatentSpace,
    bucket: Sequence[int],
    facts: pa.Table,
    data: np.ndarray,
    found: Sequence[str],
    points: int | None = None,
) -> None:
    """Write one part: the facts of items, their latents as bytes (n, width) and the digests of these.

    Of items that are trajectories a row holds so many ``points``, each a latent.
    """
    columns = {name: facts.column(name) for name in layout.schema(Item).names}
    columns["latent_digest"] = pa.array(found, pa.string())
    columns["vae_digest"] = pa.array([space.vae_digest] * len(found), pa.string()).dictionary_encode()
    shape = (*(() if points is None else (points,)), *space.shape(bucket))
    _write_tensors(path, columns, LATENT, data, space, shape, space.stored_dtype)


def write_text(path: Path, space: LatentSpace, facts: pa.Table, data: np.ndarray) -> None:
    """Write the tokens of captions, in their order: embeddings as bytes (n_tokens, width)."""
    lengths = np.asarray(np.from_dlpack(facts.column("tokens").combine_chunks()), np.int64)  # to_numpy loads pandas
    ids = facts.column("text_id").combine_chunks()
    which = pa.array(np.repeat(np.arange(len(lengths), dtype=np.int32), lengths))
    ends = np.cumsum(lengths)
    tokens = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
    columns = {"text_id": pa.DictionaryArray.from_arrays(which, ids), "token": pa.array(tokens, pa.int64())}
    _write_tensors(path, columns, EMBEDDING, data, space, (space.text_dim,), space.text_stored_dtype)


def write_captions(path: Path, space: LatentSpace, facts: pa.Table) -> None:
    """Write the captions of a text part."""
    _write(path, facts.select(layout.schema(Caption).names), space, {}, row_group_size=ROW_GROUP_BYTES)


def write_prompts(path: Path, space: LatentSpace, facts: pa.Table) -> None:
    """Write the prompts of a source that has no media."""
    _write(path, facts.select(layout.schema(Prompt).names), space, {}, row_group_size=ROW_GROUP_BYTES)


def write_latents(path: Path, space: LatentSpace, shape: Sequence[int], ids: Sequence[str], data: np.ndarray) -> None:
    """Write latents that have no place among items yet: their ids, bytes (n, width) and digests."""
    columns = {"latent_id": pa.array(ids, pa.string()), "latent_digest": pa.array(row_digests(data), pa.string())}
    _write_tensors(path, columns, LATENT, data, space, shape, space.stored_dtype)


def _write_tensors(
    path: Path,
    columns: Mapping[str, Any],
    name: str,
    data: np.ndarray,
    space: LatentSpace,
    shape: Sequence[int],
    dtype: str,
) -> None:
    width = data.shape[1]
    payload = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(data), [None, pa.py_buffer(data)])
    metadata = {TENSOR: json.dumps({"shape": list(shape), "dtype": dtype})}
    _write(path, pa.Table.from_pydict({**columns, name: payload}), space, metadata, max(1, ROW_GROUP_BYTES // width))


def _write(path: Path, table: pa.Table, space: LatentSpace, metadata: dict[str, str], row_group_size: int) -> None:
    """One part, as the package's docstring says; nothing in it is null, and only scalars have statistics."""
    schema = pa.schema([field.with_nullable(False) for field in table.schema])
    space_text = digests.canonical(space.model_dump(mode="json"))
    table = table.cast(schema).replace_schema_metadata({contracts.METADATA: space_text, **metadata})
    tensors_and_lists = (pa.FixedSizeBinaryType, pa.ListType)
    scalars = [field.name for field in schema if not isinstance(field.type, tensors_and_lists)]
    repeated = [field.name for field in schema if field.name == "split" or isinstance(field.type, pa.DictionaryType)]
    with files.replacing(path) as beside:
        pq.write_table(
            table,
            beside,
            row_group_size=row_group_size,
            compression="none",
            use_dictionary=repeated,  # pyright: ignore[reportArgumentType] (lists are documented)
            write_statistics=scalars,  # pyright: ignore[reportArgumentType]
            data_page_size=1 << 30,
            max_rows_per_page=1 << 30,
            write_page_checksum=True,
        )


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """What a manifest says of a part."""

    rows: int
    bytes: int
    digest: str


def seal(
    folder: Path,
    space: LatentSpace,
    names: Sequence[str],
    facts: Mapping[str, Any],
    known: Mapping[str, Sealed],
    parts_in: Path | None = None,
) -> dict[str, Any]:
    """Write the manifest of a finished folder: its parts in order with rows, bytes and digest; ``facts`` of the whole.

    ``known`` parts by name need not be read again. The parts are in the folder, or in ``parts_in``.
    """
    place = parts_in or folder
    parts = [{"name": name, **dataclasses.asdict(known.get(name) or _sealed(place / name))} for name in names]
    manifest = {"latent_space": space.model_dump(mode="json"), "parts": parts, **facts}
    files.write_json(folder / MANIFEST, manifest)
    return manifest


def _sealed(path: Path) -> Sealed:
    rows = pq.read_metadata(path).num_rows
    return Sealed(rows=rows, bytes=path.stat().st_size, digest=digests.of_file(path))
