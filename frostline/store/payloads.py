"""Where the tensor rows of a part lie in its file, and reading them from there.

A chunk that is one plain uncompressed page has its rows at its end: row i of n lies ``(n - i) * width`` bytes before
the end of the chunk. That is checked when a part is opened, the first row of every row group against its digest
included: were there a second page, its header would lie between that row and the end. A part of another layout (written
again by another tool) is read through pyarrow, correctly and slowly.
"""

import bisect
import functools
import json
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from frostline import contract as contracts
from frostline import digests, records
from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.storage import Blocks
from frostline.store import far, keys
from frostline.store.far import Far, Remote, Where
from frostline.store.layout import DTYPES, LATENT, REMEDY
from frostline.store.pieces import NOWHERE, Pieces
from frostline.store.writing import TENSOR

PAGE_HEADER = 256  # bytes at most; it has 20 to 100
DECODED = 4  # row groups that are kept of parts of another layout, of all files together


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


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The stretches of rows that have a digest: single latents, and texts of several tokens."""

    path: Where  # where the digests stand
    first: np.ndarray  # the first row of each, and the row count at the end; int64 (n + 1,)
    digests: np.ndarray  # as store.keys has them, (n, 2)


class Payload(Protocol):
    """The tensor rows of one part."""

    path: str
    tensors: Tensors
    rows: int
    file: int  # open, or NOWHERE
    pieces: Pieces  # where the rows lie there
    is_far: bool  # its rows come from a store: all of them are compared with their digests

    def read_into(self, data: np.ndarray, start: int) -> bool:
        """Fill uint8 (n, width) with the rows from ``start`` on; raises Refused if the file ends before.

        Gives True if the disk had to be waited for, as far as can be told.
        """
        ...

    def expect(self, start: int, count: int) -> None:
        """Say that rows will be read soon."""
        ...

    def forget(self, start: int, count: int) -> None:
        """Keep no copy of rows any longer: they are not what they should be."""
        ...


def read(payload: Payload, start: int, count: int = 1) -> np.ndarray:
    """Rows as uint8 (count, width)."""
    data = np.empty((count, payload.tensors.width), np.uint8)
    payload.read_into(data, start)
    return data


class Direct:
    """Reads rows from where they lie."""

    is_far = False

    def __init__(self, path: Path, tensors: Tensors, pieces: Pieces) -> None:
        self.path, self.tensors, self.rows, self.pieces = str(path), tensors, pieces.first[-1], pieces
        self.file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.file)

    def read_into(self, data: np.ndarray, start: int) -> bool:
        """See Payload; who wants to know whether the disk is waited for reads what is in memory before."""
        view, end = data.data.cast("B"), 0
        for place, length in self.pieces.ranges(start, len(data)):
            self._fill(view[end : end + length], place)
            end += length
        return True

    def _fill(self, wanted: memoryview, place: int) -> None:
        got = 0
        while got < len(wanted):
            here = os.preadv(self.file, [wanted[got:]], place + got)
            if not here:
                raise Refused(f"{self.path}: ends {len(wanted) - got} bytes too early; {REMEDY}")
            got += here

    def expect(self, start: int, count: int) -> None:
        """See Payload."""
        for place, length in self.pieces.ranges(start, count):
            os.posix_fadvise(self.file, place, length, os.POSIX_FADV_WILLNEED)

    def forget(self, start: int, count: int) -> None:
        """There are no copies."""


class Slow:
    """Reads rows through pyarrow, a row group at a time."""

    def __init__(self, where: Where, column: str, tensors: Tensors, first: np.ndarray) -> None:
        self.path, self.tensors, self.rows, self.is_far = str(where), tensors, int(first[-1]), isinstance(where, Far)
        self.file, self.pieces = NOWHERE, Pieces([0, self.rows], [0], tensors.width)
        self._where, self._column, self._first = where, column, first.tolist()

    def read_into(self, data: np.ndarray, start: int) -> bool:
        """See Payload."""
        for number, row in enumerate(range(start, start + len(data))):
            group = bisect.bisect_right(self._first, row) - 1
            data[number] = self._rows_of(group)[row - self._first[group]]
        return False

    def expect(self, start: int, count: int) -> None:
        """Nothing can be said to pyarrow."""

    def forget(self, start: int, count: int) -> None:  # noqa: ARG002
        """What was decoded of any part goes."""
        self._rows_of.cache_clear()

    @functools.lru_cache(maxsize=DECODED)  # noqa: B019 - of all parts together: each keeps few of them alive
    def _rows_of(self, group: int) -> np.ndarray:
        """Rows of a row group, uint8 (n, width)."""
        file = _opened(self._where)
        chunk = file.read_row_group(group, columns=[self._column], use_threads=False)[self._column]
        return np.frombuffer(b"".join(chunk.to_pylist()), np.uint8).reshape(-1, self.tensors.width)


def open_payload(
    path: Where, column: str, space: LatentSpace | None, runs: Runs | None = None, blocks: Blocks | None = None
) -> Payload:
    """Find the rows of a tensor column; of any latent space if ``space`` is None.

    Rows are compared with the digests of ``runs``; those of latents stand beside them and need not be given. Rows in a
    store are not read here, as each is compared when it is; they come by way of ``blocks`` if these are given.
    Raises Refused if the part is no part of a cache, is of another latent space, or a row is not what its digest says.
    """
    file = _opened(path)
    require_space(path, file, space)
    tensors = _tensors(path, file)
    if runs is None and column == LATENT:
        runs = runs_of_latents(path, columns(path, ["latent_digest"], space))
    first = np.cumsum([0, *(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))])
    if runs is not None and runs.first[-1] != first[-1]:
        raise Refused(
            f"{path}: has {first[-1]} rows, and {runs.path} has digests of {runs.first[-1]}; {far.remedy(path)}"
        )
    places = _places(file, column, tensors.width)
    pieces = None if places is None else Pieces(first.tolist(), places, tensors.width)
    if pieces and isinstance(path, Far):
        return Remote(path, tensors, pieces, blocks)
    if pieces and isinstance(path, Path):
        direct = Direct(path, tensors, pieces)
        if runs is None or _wrong(direct, runs, first) is None:
            return direct
    slow = Slow(path, column, tensors, first)
    if runs is not None and (row := _wrong(slow, runs, first)) is not None:
        raise Refused(_differs(slow, row))
    return slow


def runs_of_latents(path: Where, facts: pa.Table) -> Runs:
    """Each latent by itself, from the column latent_digest of a part."""
    return Runs(path=path, first=np.arange(len(facts) + 1), digests=keys.of(facts["latent_digest"]))


def require(payload: Payload, start: int, data: np.ndarray, digest: np.ndarray) -> None:
    """Raise Refused unless the rows from ``start`` on, uint8 (n, width), are what their digest (2,) says.

    They are read once more if they are not: what is damaged may be a copy on the way.
    """
    if keys.is_of(digest, data.data):
        return
    payload.forget(start, len(data))
    payload.read_into(data, start)
    if not keys.is_of(digest, data.data):
        raise Refused(_differs(payload, start))


def _differs(payload: Payload, row: int) -> str:
    remedy = REMEDY if not isinstance(payload, Remote) else far.REMEDY
    return f"{payload.path}: row {row} is not what its digest says; {remedy}"


def _wrong(payload: Payload, runs: Runs, first: np.ndarray) -> int | None:
    """The first row of a run that is not what its digest says, of those runs in which row groups begin."""
    begins = first[:-1][first[:-1] < first[-1]]  # a group may be empty
    for run in np.unique(np.searchsorted(runs.first, begins, side="right") - 1).tolist():
        start, end = map(int, runs.first[run : run + 2])
        if not keys.is_of(runs.digests[run], read(payload, start, end - start).data):
            return start
    return None


def require_space(path: Where, file: pq.ParquetFile, space: LatentSpace | None) -> None:
    """Raise Refused unless a part is of this latent space, or for None of any."""
    text = (file.schema_arrow.metadata or {}).get(contracts.METADATA.encode())
    if text is None:
        raise Refused(f"{path}: a parquet file, but not a latent cache of Frostline; {far.remedy(path)}")
    if space is not None and text.decode() != digests.canonical(space.model_dump(mode="json")):
        theirs = records.parse(LatentSpace, json.loads(text), origin=str(path))
        contracts.require_same(space, theirs, ours_is="the manifest", theirs_is=str(path), remedy=REMEDY)


def schema(path: Where) -> pa.Schema:
    """The columns of a part, and its metadata; raises Refused for what is no parquet file."""
    return _opened(path).schema_arrow


def columns(path: Where, names: Sequence[str], space: LatentSpace | None) -> pa.Table:
    """Columns of a part without its tensors; raises Refused for a part that lacks one, or of another latent space."""
    file = _opened(path)
    require_space(path, file, space)
    if absent := sorted(set(names) - set(file.schema_arrow.names)):
        raise Refused(f"{path}: lacks {absent}, so another version of Frostline made it; {far.remedy(path)}")
    if isinstance(path, Far):
        path.ask(_ranges(file, names))
    try:
        return file.read(columns=list(names), use_threads=False)
    except OSError as error:  # of the checksum of a page
        raise Refused(f"{path}: damaged ({' '.join(str(error).split())}); {far.remedy(path)}") from None


def _ranges(file: pq.ParquetFile, names: Sequence[str]) -> list[tuple[int, int]]:
    """Where columns lie: place and length of each chunk."""
    leaves = [n for n in range(len(file.schema.names)) if file.schema.column(n).path.split(".")[0] in names]
    chunks = [file.metadata.row_group(group).column(leaf) for group in range(file.num_row_groups) for leaf in leaves]
    return [(_begin(chunk), chunk.total_compressed_size) for chunk in chunks]


def _begin(chunk: pq.ColumnChunkMetaData) -> int:
    """The first byte of a chunk: a dictionary comes before the data."""
    return chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset


def numbers(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Numbers of a column without nulls; pyarrow's own way to numpy loads pandas: 70 MB, and half a second."""
    return np.from_dlpack(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)


def _opened(path: Where) -> pq.ParquetFile:
    """A part as a parquet file; pages that come from a store are checked, files on a disk were when they were found."""
    try:
        if isinstance(path, Far):
            return pq.ParquetFile(path.open(), page_checksum_verification=True)
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise Refused(f"{path}: missing; {REMEDY}") from None
    except pa.ArrowInvalid as error:
        raise Refused(f"{path}: not a parquet file, or cut short ({error}); {far.remedy(path)}") from None


def _tensors(path: Where, file: pq.ParquetFile) -> Tensors:
    facts = (file.schema_arrow.metadata or {}).get(TENSOR.encode())
    if facts is None:
        raise Refused(f"{path}: a parquet file, but not a latent cache of Frostline; {far.remedy(path)}")
    values = json.loads(facts)
    return Tensors(shape=tuple(values["shape"]), dtype=DTYPES[values["dtype"]])


def _places(file: pq.ParquetFile, column: str, width: int) -> list[int] | None:
    """First byte of the rows of each row group, or None unless each is plain, uncompressed and no longer than a page.

    Several small pages pass for one here.
    """
    leaves = [file.schema.column(number) for number in range(len(file.schema.names))]
    index, leaf = next((number, leaf) for number, leaf in enumerate(leaves) if leaf.path == column)
    if leaf.max_definition_level:  # nulls may be among the rows
        return None
    found = []
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        chunk = group.column(index)
        overhead = chunk.total_compressed_size - group.num_rows * width
        plain = chunk.compression == "UNCOMPRESSED" and set(chunk.encodings) <= {"PLAIN", "RLE"}
        if not plain or chunk.has_dictionary_page or not 0 < overhead < PAGE_HEADER:
            return None
        found.append(chunk.data_page_offset + overhead)
    return found
