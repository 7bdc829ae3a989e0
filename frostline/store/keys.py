"""Ids and digests as numbers of 128 bits: a million of them take 16 MB and are looked up without their texts.

Ids and digests are 32 hexadecimal digits, which are such numbers. A text of another form stands for its own digest.
"""

import binascii
import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from frostline import digests

DIGITS = 32
_DIGEST = re.compile(f"[0-9a-fA-F]{{{DIGITS}}}")


def of(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of strings as uint64 (n, 2)."""
    try:
        digits = texts.cast(pa.binary(DIGITS))
        pieces = digits.chunks if isinstance(digits, pa.ChunkedArray) else [digits]
        data = b"".join(binascii.unhexlify(_bytes(piece)) for piece in pieces)
    except (pa.ArrowInvalid, binascii.Error):
        return of_texts(texts.to_pylist())
    return np.frombuffer(data, np.uint64).reshape(-1, 2)


def of_texts(texts: Iterable[str]) -> np.ndarray:
    """Strings as uint64 (n, 2)."""
    return np.frombuffer(b"".join(map(_one, texts)), np.uint64).reshape(-1, 2)


def is_of(digest: np.ndarray, data: memoryview) -> bool:
    """Is it the digest (2,) of bytes?"""
    return digest.tobytes() == bytes.fromhex(digests.of_bytes(data))


class Index:
    """Keys in an order in which they are found."""

    def __init__(self, known: np.ndarray) -> None:
        self._known = known
        self._order = np.argsort(known[:, 0])
        self._sorted = known[self._order, 0]

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Which of the keys each wanted one is, int64 (n,); -1 for none, and any one of several that are equal."""
        if not len(self._known):
            return np.full(len(wanted), -1)
        turns = np.argsort(wanted[:, 0])  # a search looks where the one before it looked
        places = np.searchsorted(self._sorted, wanted[turns, 0])
        found = np.empty(len(wanted), np.int64)
        found[turns] = self._order[np.minimum(places, len(self._order) - 1)]
        theirs = self._known[found]
        return np.where((theirs[:, 0] == wanted[:, 0]) & (theirs[:, 1] == wanted[:, 1]), found, -1)


def _bytes(piece: pa.Array) -> memoryview:
    width = DIGITS
    return memoryview(piece.buffers()[1])[piece.offset * width : (piece.offset + len(piece)) * width]


def _one(text: str) -> bytes:
    return bytes.fromhex(text if _DIGEST.fullmatch(text) else digests.of_bytes(text.encode()))
