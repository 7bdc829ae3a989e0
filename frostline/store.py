"""Frozen latents and text embeddings in parquet, laid out so that a row lies at a computable place in its file.

    <source>/items/<bucket>/part-00000.parquet   one row per item: what it is, and its raw latent
    <source>/prompts/part-00000.parquet          one row per prompt of a source that has no media
    <source>/text/part-00000.parquet             one row per token of each distinct caption, the null prompt first
    <source>/manifest.json                       the parts with rows, bytes and digests; the LatentSpace

Tensors are columns of fixed-size bytes (raw posterior means, little-endian, bfloat16 or float32), required, plain,
uncompressed, one data page per column chunk. Any parquet reader can read them; this module finds the payload of
a chunk from its metadata and reads rows with ``preadv``. Parquet keeps no checksum that readers verify, so every
part has its digest in the manifest and every row its own.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from frostline import contract as contracts
from frostline import digests, files, records
from frostline.contract import LatentSpace
from frostline.errors import Refused, WrongUse

MANIFEST = "manifest.json"
LATENT, EMBEDDING = "latent", "embedding"
ROW_GROUP_BYTES = 32 << 20
PART_BYTES = 256 << 20
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
REMEDY = "make the cache again with `dvc repro`; nothing needs to be deleted by hand"


@dataclass(frozen=True, kw_only=True)
class Item:
    """What is known of one cached item beside its latent."""

    id: str
    item: str  # the source item it was cut from
    split: str
    start: int  # first source frame
    source_width: int
    source_height: int
    source_frames: int
    source_fps: float
    captions: tuple[str, ...]  # at least one
    weights: tuple[float, ...]  # of each caption: how often a training chooses it, relative to the others
    attributes: str  # JSON
    text_ids: tuple[str, ...]  # of each caption
    text_offsets: tuple[int, ...]  # first row of each caption in the source's text table
    text_lengths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A caption without media, for distillation from a teacher alone."""

    id: str
    split: str
    caption: str
    text_id: str
    text_offset: int  # first row in the source's text table
    text_length: int


def bucket_name(bucket: Sequence[int]) -> str:
    """Name of a bucket (frames, height, width), e.g. 5x32x32."""
    return "x".join(map(str, bucket))


def bucket_of(name: str) -> tuple[int, int, int]:
    """The bucket a name stands for; raises WrongUse for anything else."""
    parts = name.split("x")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise WrongUse(f"bucket '{name}': write frames x height x width, e.g. 5x32x32")
    frames, height, width = map(int, parts)
    return frames, height, width


# Writing


def write_items(path: Path, space: LatentSpace, items: Sequence[Item], raw: Tensor) -> None:
    """Write one part: items and their raw latents (n, C, T', H', W') in the space's stored dtype."""
    data = _bytes(raw.to(DTYPES[space.stored_dtype]))
    columns = _columns(Item, items)
    columns["latent_digest"] = pa.array([digests.of_bytes(row.tobytes()) for row in data])
    columns["vae_digest"] = pa.array([space.vae_digest] * len(items)).dictionary_encode()
    facts = {"shape": list(raw.shape[1:]), "dtype": space.stored_dtype}
    _write_tensors(path, columns, LATENT, data, space, facts)


def write_text(path: Path, space: LatentSpace, ids: Sequence[str], texts: Sequence[Tensor]) -> None:
    """Write the text part: embeddings (n_tokens, D) float32 per distinct caption, the null prompt first."""
    lengths = [len(text) for text in texts]
    columns = {
        "text_id": pa.array(np.repeat(np.array(ids), lengths)).dictionary_encode(),
        "token": pa.array([token for length in lengths for token in range(length)]),
    }
    data = _bytes(torch.cat(list(texts)).float())
    _write_tensors(path, columns, EMBEDDING, data, space, {"shape": [space.text_dim], "dtype": "float32"})


def write_prompts(path: Path, space: LatentSpace, prompts: Sequence[Prompt]) -> None:
    """Write the prompts of a source that has no media."""
    _write(path, pa.table(_columns(Prompt, prompts)), space, {}, row_group_size=ROW_GROUP_BYTES)


def _bytes(rows: Tensor) -> np.ndarray:
    """Rows of any dtype as uint8 (n, width)."""
    return rows.contiguous().view(torch.uint8).reshape(len(rows), -1).numpy()


def _list(of: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", of, nullable=False))


_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    tuple[str, ...]: _list(pa.string()),
    tuple[int, ...]: _list(pa.int64()),
    tuple[float, ...]: _list(pa.float64()),
}


def _columns(cls: type[Item | Prompt], rows: Sequence[Item | Prompt]) -> dict[str, Any]:
    return {
        field.name: pa.array([getattr(row, field.name) for row in rows], type=_TYPES[field.type])
        for field in dataclasses.fields(cls)
    }


def _write_tensors(
    path: Path, columns: dict[str, Any], name: str, data: np.ndarray, space: LatentSpace, facts: dict[str, Any]
) -> None:
    width = data.shape[1]
    payload = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(data), [None, pa.py_buffer(data)])
    table = pa.table({**columns, name: payload})
    tensor = {"frostline.tensor": json.dumps(facts)}
    _write(path, table, space, tensor, row_group_size=max(1, ROW_GROUP_BYTES // width))


def _write(path: Path, table: pa.Table, space: LatentSpace, metadata: dict[str, str], row_group_size: int) -> None:
    """One part, as the module's docstring says; nothing in it is null, and only scalars have statistics."""
    schema = pa.schema([field.with_nullable(False) for field in table.schema])
    space_text = digests.canonical(space.model_dump(mode="json"))
    table = table.cast(schema).replace_schema_metadata({contracts.METADATA: space_text, **metadata})
    tensors_and_lists = (pa.FixedSizeBinaryType, pa.ListType)
    scalars = [field.name for field in schema if not isinstance(field.type, tensors_and_lists)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as beside:
        pq.write_table(
            table,
            beside,
            row_group_size=row_group_size,
            compression="none",
            use_dictionary=["vae_digest", "text_id"],  # pyright: ignore[reportArgumentType] (lists are documented)
            write_statistics=scalars,  # pyright: ignore[reportArgumentType]
            data_page_size=1 << 30,
            max_rows_per_page=1 << 30,
        )


def seal(folder: Path, space: LatentSpace, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of a finished folder: each part with rows, bytes and digest, and ``facts`` of the whole."""
    parts = []
    for path in sorted(folder.rglob("*.parquet")):
        rows = pq.read_metadata(path).num_rows
        name = path.relative_to(folder).as_posix()
        parts.append({"name": name, "rows": rows, "bytes": path.stat().st_size, "digest": digests.of_file(path)})
    manifest = {"latent_space": space.model_dump(mode="json"), "parts": parts, **facts}
    files.write_json(folder / MANIFEST, manifest)
    return manifest


# Reading


@dataclass(frozen=True, kw_only=True)
class Payload:
    """Where the fixed-size rows of one column of one part lie."""

    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    width: int  # bytes of a row
    first: np.ndarray  # first row of each row group, and the row count at the end
    offsets: np.ndarray  # byte offset of each row group's payload

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.first[-1])

    def read(self, start: int, count: int = 1) -> Tensor:
        """Rows ``start`` to ``start + count`` as (count, *shape)."""
        data = bytearray(count * self.width)
        view, done = memoryview(data), 0
        while done < count:
            group = int(np.searchsorted(self.first, start + done, side="right")) - 1
            here = min(count - done, int(self.first[group + 1]) - start - done)
            place = int(self.offsets[group]) + (start + done - int(self.first[group])) * self.width
            self._fill(view[done * self.width : (done + here) * self.width], place)
            done += here
        return torch.frombuffer(data, dtype=self.dtype).view(count, *self.shape)

    def _fill(self, view: memoryview, place: int) -> None:
        got = os.preadv(self._file, [view], place)
        if got != len(view):
            raise Refused(f"{self.path}: ends {len(view) - got} bytes too early; {REMEDY}")

    @functools.cached_property
    def _file(self) -> int:
        return os.open(self.path, os.O_RDONLY)


def payload(path: Path, column: str, space: LatentSpace) -> Payload:
    """Find the rows of a tensor column; raises Refused if the part is foreign or of another latent space."""
    file = pq.ParquetFile(path)
    metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
    if contracts.METADATA not in metadata or "frostline.tensor" not in metadata:
        raise Refused(f"{path}: a parquet file, but not a latent cache of Frostline; {REMEDY}")
    theirs = records.parse(LatentSpace, json.loads(metadata[contracts.METADATA]), origin=str(path))
    contracts.require_same(space, theirs, ours_is="the manifest", theirs_is=str(path), remedy=REMEDY)
    facts = json.loads(metadata["frostline.tensor"])
    dtype = DTYPES[facts["dtype"]]
    width = int(np.prod(facts["shape"])) * dtype.itemsize
    index = file.schema_arrow.get_field_index(column)
    chunks = [
        (file.metadata.row_group(g), file.metadata.row_group(g).column(index)) for g in range(file.num_row_groups)
    ]
    return Payload(
        path=path,
        shape=tuple(facts["shape"]),
        dtype=dtype,
        width=width,
        first=np.cumsum([0, *(group.num_rows for group, _ in chunks)]),
        offsets=np.array([_place(path, chunk, group.num_rows * width) for group, chunk in chunks]),
    )


def _place(path: Path, chunk: Any, size: int) -> int:
    """Byte offset of a chunk's payload: the last ``size`` bytes of its only data page."""
    overhead = chunk.total_compressed_size - size
    plain = chunk.compression == "UNCOMPRESSED" and not chunk.has_dictionary_page
    if not plain or not 0 < overhead < 256:  # a page header has 20 to 100 bytes; a second page would add another
        raise Refused(f"{path}: its tensor column is not one plain uncompressed page per row group; {REMEDY}")
    return chunk.data_page_offset + overhead


class Latents:
    """One source's cache, opened: every part verified, rows in the manifest's order."""

    def __init__(self, folder: Path) -> None:
        """Raises WrongUse if the folder is no cache, Refused if a part is missing, unlisted, changed or foreign."""
        self.folder = folder
        self.manifest = files.read_json(folder / MANIFEST)
        origin = str(folder / MANIFEST)
        self.space = records.parse(LatentSpace, self.manifest["latent_space"], origin=origin)
        _verify(folder, self.manifest["parts"])
        names = [part["name"] for part in self.manifest["parts"]]
        self.items: list[Item] = []
        self.buckets: list[str] = []
        self._rows: list[tuple[Payload, int]] = []
        for name in (name for name in names if name.startswith("items/")):
            self._add(folder / name, bucket=name.split("/")[1])
        self.prompt_items = [
            Prompt(**row) for name in names if name.startswith("prompts/") for row in _scalars(folder / name, Prompt)
        ]
        texts = [folder / name for name in names if name.startswith("text/")]
        self._text = payload(texts[0], EMBEDDING, self.space)
        null = pq.read_table(texts[0], columns=["text_id"])["text_id"].to_pylist()
        self.null_length = sum(1 for text_id in null if text_id == null[0])

    def _add(self, path: Path, bucket: str) -> None:
        part = payload(path, LATENT, self.space)
        self.items += [Item(**row) for row in _scalars(path, Item)]
        self.buckets += [bucket] * part.rows
        self._rows += [(part, row) for row in range(part.rows)]

    def __len__(self) -> int:
        return len(self.items)

    def raw(self, rows: Iterable[int]) -> Tensor:
        """Raw latents float32 (n, C, T', H', W') of rows of one bucket."""
        found = [self._rows[row] for row in rows]
        return torch.cat([part.read(row) for part, row in found]).float()

    def text(self, row: int, caption: int = 0) -> Tensor:
        """Embedding float32 (n_tokens, D) of one of a row's captions."""
        item = self.items[row]
        return self._text.read(item.text_offsets[caption], item.text_lengths[caption])

    def prompt_text(self, number: int) -> Tensor:
        """Embedding float32 (n_tokens, D) of a prompt without media."""
        prompt = self.prompt_items[number]
        return self._text.read(prompt.text_offset, prompt.text_length)

    def null(self) -> Tensor:
        """Embedding float32 (n_tokens, D) of the null prompt."""
        return self._text.read(0, self.null_length)

    def prompts(self) -> dict[str, Tensor]:
        """The preview prompts' embeddings float32 (n_tokens, D)."""
        return {prompt: self._text.read(*place) for prompt, place in self.manifest["prompts"].items()}


def _scalars(path: Path, cls: type[Item | Prompt]) -> Iterable[dict[str, Any]]:
    """The rows of a part without its tensors, lists as tuples; raises Refused for a part that lacks a column."""
    wanted = list(cls.__dataclass_fields__)
    if absent := sorted(set(wanted) - set(pq.read_schema(path).names)):
        raise Refused(f"{path}: lacks {absent}, so another version of Frostline made it; {REMEDY}")
    for row in pq.read_table(path, columns=wanted).to_pylist():
        yield {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def _verify(folder: Path, parts: Sequence[dict[str, Any]]) -> None:
    listed = {part["name"] for part in parts}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    if listed != present:
        raise Refused(f"{folder}: missing {sorted(listed - present)}, unlisted {sorted(present - listed)}; {REMEDY}")
    for part in parts:
        found = digests.of_file(folder / part["name"])
        if found != part["digest"]:
            raise Refused(f"{folder / part['name']}: digest {found} is not the manifest's {part['digest']}; {REMEDY}")
