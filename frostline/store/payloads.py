"""Where the tensor rows of a part lie in its file, and reading them from there.

A chunk that is one plain uncompressed page has its rows at its end: row i of n lies ``(n - i) * width`` bytes before
the end of the chunk. That is checked when a part is opened, one row of every row group against its own digest included.
A part of another layout (written again by another tool) is read through pyarrow, correctly and slowly.
"""

import functools
import json
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from frostline import contract as contracts
from frostline import digests, records
from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.store.layout import DTYPES, LATENT, REMEDY
from frostline.store.writing import TENSOR

PAGE_HEADER = 256  # bytes at most; it has 20 to 100, and a second page would need another


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """What a row of a tensor column is."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def view(self, data: np.ndarray) -> Tensor:
        """Bytes (n, width) as a tensor (n, *shape) on the same memory."""
        return torch.from_numpy(data).view(self.dtype).view(len(data), *self.shape)


class Payload(Protocol):
    """The tensor rows of one part."""

    path: Path
    tensors: Tensors
    rows: int

    def read_into(self, data: np.ndarray, start: int) -> None:
        """Fill uint8 (n, width) with the rows from ``start`` on; raises Refused if the file ends before."""
        ...

    def expect(self, start: int, count: int) -> None:
        """Say that rows will be read soon."""
        ...


def read(payload: Payload, start: int, count: int = 1) -> np.ndarray:
    """Rows as uint8 (count, width)."""
    data = np.empty((count, payload.tensors.width), np.uint8)
    payload.read_into(data, start)
    return data


class Direct:
    """Reads rows from where they lie."""

    def __init__(self, path: Path, tensors: Tensors, first: np.ndarray, offsets: np.ndarray) -> None:
        """``first`` is the first row of each row group, and the row count at the end; ``offsets`` their first bytes."""
        self.path, self.tensors, self.rows = path, tensors, int(first[-1])
        self._first, self._offsets = first.tolist(), offsets.tolist()
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def read_into(self, data: np.ndarray, start: int) -> None:
        """See Payload."""
        view, width, done = data.data.cast("B"), self.tensors.width, 0
        while done < len(data):
            place, here = self._place(start + done, len(data) - done)
            wanted = view[done * width : (done + here) * width]
            if (got := os.preadv(self._file, [wanted], place)) != len(wanted):
                raise Refused(f"{self.path}: ends {len(wanted) - got} bytes too early; {REMEDY}")
            done += here

    def expect(self, start: int, count: int) -> None:
        """See Payload."""
        place, here = self._place(start, count)
        os.posix_fadvise(self._file, place, here * self.tensors.width, os.POSIX_FADV_WILLNEED)

    def _place(self, row: int, count: int) -> tuple[int, int]:
        """The byte at which a row lies, and how many of ``count`` rows from there on lie in one piece."""
        group = 0 if len(self._offsets) == 1 else int(np.searchsorted(self._first, row, side="right")) - 1
        place = self._offsets[group] + (row - self._first[group]) * self.tensors.width
        return place, min(count, self._first[group + 1] - row)


class Slow:
    """Reads rows through pyarrow, a row group at a time."""

    def __init__(self, path: Path, column: str, tensors: Tensors, first: np.ndarray) -> None:
        self.path, self.tensors, self.rows = path, tensors, int(first[-1])
        self._column, self._first = column, first
        self._group = functools.lru_cache(maxsize=1)(self._read_group)

    def read_into(self, data: np.ndarray, start: int) -> None:
        """See Payload."""
        for number in range(len(data)):
            group = int(np.searchsorted(self._first, start + number, side="right")) - 1
            data[number] = self._group(group)[start + number - int(self._first[group])]

    def expect(self, start: int, count: int) -> None:
        """Nothing can be said to pyarrow."""

    def _read_group(self, group: int) -> np.ndarray:
        chunk = pq.ParquetFile(self.path).read_row_group(group, columns=[self._column])[self._column]
        values = b"".join(chunk.to_pylist())
        return np.frombuffer(values, np.uint8).reshape(-1, self.tensors.width)


def open_payload(path: Path, column: str, space: LatentSpace | None) -> Payload:
    """Find the rows of a tensor column; of any latent space if ``space`` is None.

    Raises Refused if the part is no part of a cache, is of another latent space, or a row is not what its digest says.
    """
    file = _opened(path)
    require_space(path, file, space)
    tensors = _tensors(path, file)
    first = np.cumsum([0, *(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))])
    offsets = _offsets(file, column, tensors.width)
    found = Slow(path, column, tensors, first) if offsets is None else Direct(path, tensors, first, offsets)
    if column == LATENT:
        _check_one_of_each_group(file, found, first)
    return found


def require_space(path: Path, file: pq.ParquetFile, space: LatentSpace | None) -> None:
    """Raise Refused unless a part is of this latent space, or for None of any."""
    text = (file.schema_arrow.metadata or {}).get(contracts.METADATA.encode())
    if text is None:
        raise Refused(f"{path}: a parquet file, but not a latent cache of Frostline; {REMEDY}")
    if space is not None and text.decode() != digests.canonical(space.model_dump(mode="json")):
        theirs = records.parse(LatentSpace, json.loads(text), origin=str(path))
        contracts.require_same(space, theirs, ours_is="the manifest", theirs_is=str(path), remedy=REMEDY)


def columns(path: Path, names: Sequence[str], space: LatentSpace | None) -> pa.Table:
    """Columns of a part without its tensors; raises Refused for a part that lacks one, or of another latent space."""
    file = _opened(path)
    require_space(path, file, space)
    if absent := sorted(set(names) - set(file.schema_arrow.names)):
        raise Refused(f"{path}: lacks {absent}, so another version of Frostline made it; {REMEDY}")
    return file.read(columns=list(names), use_threads=False)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise Refused(f"{path}: missing; {REMEDY}") from None
    except pa.ArrowInvalid as error:
        raise Refused(f"{path}: not a parquet file, or cut short ({error}); {REMEDY}") from None


def _tensors(path: Path, file: pq.ParquetFile) -> Tensors:
    facts = (file.schema_arrow.metadata or {}).get(TENSOR.encode())
    if facts is None:
        raise Refused(f"{path}: a parquet file, but not a latent cache of Frostline; {REMEDY}")
    values = json.loads(facts)
    return Tensors(shape=tuple(values["shape"]), dtype=DTYPES[values["dtype"]])


def _offsets(file: pq.ParquetFile, column: str, width: int) -> np.ndarray | None:
    """First byte of the rows of each row group, or None unless each is one plain uncompressed page."""
    index = file.schema_arrow.get_field_index(column)
    found = []
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        chunk = group.column(index)
        overhead = chunk.total_compressed_size - group.num_rows * width
        plain = chunk.compression == "UNCOMPRESSED" and not chunk.has_dictionary_page
        if not plain or not 0 < overhead < PAGE_HEADER:
            return None
        found.append(chunk.data_page_offset + overhead)
    return np.array(found, np.int64)


def _check_one_of_each_group(file: pq.ParquetFile, payload: Payload, first: np.ndarray) -> None:
    """Compare the last row of every row group with its digest: the places are right, whatever wrote the file."""
    stored: Any = file.read(columns=["latent_digest"], use_threads=False)["latent_digest"]
    for last in (first[1:] - 1).tolist():
        if digests.of_bytes(read(payload, last).data) != stored[last].as_py():
            raise Refused(f"{payload.path}: row {last} is not what its digest says; {REMEDY}")
