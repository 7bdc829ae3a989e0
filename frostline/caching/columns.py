"""Digests of whole columns without an object for each value, and of tables."""

import binascii
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from frostline.store import payloads
from frostline.store.layout import compute

DIGITS = 32  # of a digest
_NONE = np.zeros(1, np.int32)


def digests(texts: Any) -> pa.Array:
    """The digest of each text of a column, as digests.of_bytes gives it."""
    found = b"".join(map(xxhash.xxh3_128_digest, _pieces(texts)))
    offsets = np.arange(0, 2 * len(found) + 1, DIGITS, dtype=np.int32)
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(binascii.hexlify(found)))


def digest(table: pa.Table) -> str:
    """The digest of the names, types and values of columns without nulls, however they lie in memory.

    Arrow's own formats will not do: what they write depends on where in a larger column a slice was cut.
    """
    state = xxhash.xxh3_128()
    for field in table.schema:
        state.update(f"{field.name} {field.type} ".encode())
        for piece in _values(_array(table[field.name])):
            state.update(len(piece).to_bytes(8, "little"))
            state.update(piece)
    return state.hexdigest()


def draws(texts: Any) -> np.ndarray:
    """A number in [0, 1) of each text of a column, drawn from its digest of 64 bits."""
    return np.array(list(map(xxhash.xxh3_64_intdigest, _pieces(texts))), np.uint64) / 2.0**64


def joined(*columns: Any) -> pa.Array:
    """Columns of texts or numbers, or single texts, as texts with a space between."""
    texts = [text(column) if isinstance(column, str) else column.cast(pa.string()) for column in columns]
    return _array(compute.binary_join_element_wise(*texts, text(" ")))


def text(value: str) -> pa.Scalar:
    """A text for all rows; pyarrow's own way from a str to one loads pandas."""
    return pa.scalar(value, pa.string())


def _pieces(texts: Any) -> Iterator[memoryview]:
    """The bytes of each text."""
    places, data = _texts(_array(texts))
    return (data[start:end] for start, end in itertools.pairwise(places.tolist()))


def _texts(column: Any) -> tuple[np.ndarray, memoryview]:
    """Where each text begins, int32, and their end; the bytes of them all."""
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1] if len(column) else _NONE
    return places, memoryview(data or b"")


def _values(column: Any) -> Iterator[bytes | memoryview]:
    """The values of a column: of lists and texts their lengths, and all that is in them."""
    if pa.types.is_list(column.type):
        yield payloads.numbers(compute.list_value_length(column)).tobytes()
        yield from _values(column.flatten())
    elif pa.types.is_string(column.type):
        places, data = _texts(column)
        yield np.diff(places).tobytes()
        yield data[places[0] : places[-1]]
    else:
        yield payloads.numbers(column).tobytes()


def _array(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
