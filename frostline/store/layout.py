"""What a cache is made of: the columns of its parts, and the names of its folders and buckets."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute
import torch

from frostline.errors import WrongUse

MANIFEST = "manifest.json"
ITEMS, PROMPTS, CAPTIONS, TEXT = "items", "prompts", "captions", "text"
LATENT, EMBEDDING = "latent", "embedding"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
compute: Any = pyarrow.compute  # its functions are made when it is imported, where no type checker sees them
REMEDY = "make the cache again with `dvc repro`; nothing needs to be deleted by hand"


@dataclass(frozen=True, kw_only=True)
class Item:
    """What is known of one cached item beside its latent."""

    id: str  # of its row in the source's manifest: unique in a source
    latent_id: str  # digest of all the latent depends on; rows of equal pixels share it
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
    text_lengths: tuple[int, ...]  # of each caption, in tokens


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A caption without media, for distillation from a teacher alone."""

    id: str
    split: str
    caption: str
    text_id: str
    text_length: int


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A distinct caption; its tokens lie in the text part of the same name, after those of the captions before."""

    text_id: str  # digest of all the embedding depends on
    caption: str  # one of those that are read as this text
    tokens: int
    text_digest: str  # of its embeddings' bytes


Facts = Item | Prompt | Caption


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


def schema(kind: type[Facts]) -> pa.Schema:
    """The columns of a part that are no tensor."""
    return pa.schema([pa.field(field.name, _TYPES[field.type], nullable=False) for field in dataclasses.fields(kind)])


def table(kind: type[Facts], rows: Sequence[Facts]) -> pa.Table:
    """Records as columns."""
    arrays = [pa.array([getattr(row, field.name) for row in rows], type=field.type) for field in schema(kind)]
    return pa.Table.from_arrays(arrays, schema=schema(kind))


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
