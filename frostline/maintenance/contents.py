"""Every row of a part, read through pyarrow and compared with its own digest; and whether its values can be latents.

A VAE gives neither infinities nor one value everywhere: such a row was wrong before it was written.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from frostline import contract as contracts
from frostline import digests, records
from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.maintenance.parts import UNREADABLE, said
from frostline.store.layout import DTYPES, EMBEDDING, LATENT, Caption, schema
from frostline.store.writing import TENSOR

SHOWN = 40  # characters of a caption


@dataclass(frozen=True, kw_only=True)
class Row:
    """A latent, or the tokens of a text, and what is wrong with it."""

    number: int
    id: str  # latent_id or text_id; "" where it cannot be told
    row_is: str  # for people
    data: np.ndarray  # uint8 (n, width): one latent, or the tokens of a text
    digest: str
    wrong: str  # "" if nothing is
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """The part that rows are of."""

    space: LatentSpace
    shape: tuple[int, ...]
    dtype: torch.dtype


def tensors(path: Path) -> Tensors:
    """What a part says of its rows; raises one of parts.UNREADABLE if it is no part."""
    metadata = pq.read_schema(path).metadata or {}
    if not {TENSOR.encode(), contracts.METADATA.encode()} <= metadata.keys():
        raise Refused("a parquet file, but no part of a cache of Frostline")
    facts = json.loads(metadata[TENSOR.encode()])
    space = records.parse(LatentSpace, json.loads(metadata[contracts.METADATA.encode()]), origin=str(path))
    return Tensors(space=space, shape=tuple(facts["shape"]), dtype=DTYPES[facts["dtype"]])


def latents(path: Path) -> Iterator[Row]:
    """The rows of a part with latents, items or fresh ones; a row group that cannot be read is one row.

    Raises one of parts.UNREADABLE if the file is no part.
    """
    dtype, first = tensors(path).dtype, 0
    with pq.ParquetFile(path) as file:
        facts = [name for name in ("item", "id", "latent_id", "latent_digest") if name in file.schema_arrow.names]
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            try:
                table = file.read_row_group(group, columns=[*facts, LATENT], use_threads=False)
            except UNREADABLE as error:
                yield _lost(first, f"this row and {count - 1} after it: {said(error, path)}")
            else:
                yield from _latents(table, first, dtype)
            first += count


def _latents(table: pa.Table, first: int, dtype: torch.dtype) -> Iterator[Row]:
    data = _bytes(table[LATENT])
    odd = unlikely(data, dtype)
    for number, facts in enumerate(table.drop_columns([LATENT]).to_pylist()):
        same = digests.of_bytes(data[number].data) == facts["latent_digest"]
        yield Row(
            number=first + number,
            id=facts["latent_id"],
            row_is=f"item {facts['item']}, id {facts['id']}" if "id" in facts else f"latent {facts['latent_id']}",
            data=data[number : number + 1],
            digest=facts["latent_digest"],
            wrong=odd[number] if same else "its latent is not what its digest says",
        )


def texts(captions: Path, text: Path) -> Iterator[Row]:
    """The texts of a part of captions, each with its tokens; ``number`` is that of the caption.

    Raises one of parts.UNREADABLE if a file is no part.
    """
    dtype = tensors(text).dtype
    with pq.ParquetFile(captions) as file:
        facts = file.read(columns=list(schema(Caption).names), use_threads=False).to_pylist()
    data, whole = _tokens(text)
    end = 0
    for number, fact in enumerate(facts):
        start, end = end, end + max(0, fact["tokens"])
        here = data[start:end]
        row_is = f"text {json.dumps(fact['caption'][:SHOWN], ensure_ascii=False)}, {fact['text_id']}"
        if end > len(data) or not whole[start:end].all():
            wrong = "its tokens cannot be read"
        elif digests.of_bytes(here.tobytes()) != fact["text_digest"]:
            wrong = "its tokens are not what their digest says"
        else:
            odd = unlikely(here, dtype)
            wrong = next((f"token {token} {what}" for token, what in enumerate(odd) if what), "")
        yield Row(
            number=number,
            id=fact["text_id"],
            row_is=row_is,
            data=here,
            digest=fact["text_digest"],
            wrong=wrong,
            caption=fact["caption"],
        )


def _tokens(text: Path) -> tuple[np.ndarray, np.ndarray]:
    """All tokens of a text part uint8 (n, width), and which of them could be read, bool (n,)."""
    with pq.ParquetFile(text) as file:
        groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        width = file.schema_arrow.field(EMBEDDING).type.byte_width
        data, whole, first = np.zeros((sum(groups), width), np.uint8), np.zeros(sum(groups), bool), 0
        for group, count in enumerate(groups):
            try:
                column = file.read_row_group(group, columns=[EMBEDDING], use_threads=False)[EMBEDDING]
                data[first : first + count], whole[first : first + count] = _bytes(column), True
            except UNREADABLE:
                pass  # they stay marked as lost
            first += count
    return data, whole


def unlikely(data: np.ndarray, dtype: torch.dtype) -> list[str]:
    """Of each row uint8 (n, width): what no encoder gives, or ""."""
    if not len(data):
        return []
    values = torch.from_numpy(data).view(dtype)
    extremes = zip(values.amin(dim=1).tolist(), values.amax(dim=1).tolist(), strict=True)
    return [_unlikely(row, *both) for row, both in zip(values, extremes, strict=True)]


def _unlikely(row: torch.Tensor, least: float, most: float) -> str:
    if not (math.isfinite(least) and math.isfinite(most)):  # an extreme of values that are no numbers is none either
        return f"has {int((~torch.isfinite(row)).sum())} of {len(row)} values that are not finite"
    if least != most:
        return ""
    return "is all zeros" if least == 0 else f"is {least:g} everywhere"


def _bytes(column: pa.ChunkedArray) -> np.ndarray:
    """A column of fixed-size bytes as uint8 (n, width), writable."""
    width = column.type.byte_width
    found = [np.zeros((0, width), np.uint8)]
    for chunk in column.chunks:
        buffer: Any = chunk.buffers()[1]
        rows = np.frombuffer(buffer, np.uint8)[chunk.offset * width : (chunk.offset + len(chunk)) * width]
        found.append(rows.reshape(-1, width))
    return np.concatenate(found)


def _lost(number: int, what: str) -> Row:
    return Row(number=number, id="", row_is="", data=np.zeros((0, 0), np.uint8), digest="", wrong=what)


# -------------------------------------------------------------------------------------------------- remembering


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a row, or, where no row is named, with the file."""

    what: str
    row: int | None = None
    row_is: str = ""


class Contents:
    """Digests and rows of files, each file looked at once under all of its names."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, int], str] = {}
        self._problems: dict[tuple[int, int], list[Problem]] = {}

    def digest(self, path: Path) -> str:
        """The digest of a file."""
        key = _identity(path)
        if key not in self._digests:
            self._digests[key] = digests.of_file(path)
        return self._digests[key]

    def problems(self, path: Path, captions: Path | None = None) -> list[Problem]:
        """What is wrong with the rows of a part of latents, or of the text that belongs to ``captions``."""
        key = _identity(path)
        if key not in self._problems:
            self._problems[key] = _judged(latents(path) if captions is None else texts(captions, path), path)
        return self._problems[key]


def _judged(rows: Iterable[Row], path: Path) -> list[Problem]:
    try:
        return [Problem(what=row.wrong, row=row.number, row_is=row.row_is) for row in rows if row.wrong]
    except UNREADABLE as error:
        return [Problem(what=said(error, path))]


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
