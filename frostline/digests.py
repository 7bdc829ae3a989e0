"""Digests (xxh3_128, hexadecimal) of bytes, files, folders and JSON values.

They identify artefacts against accidents (another VAE, a flipped bit), not against an adversary.
"""

import json
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

CHUNK = 1 << 17  # as the kernel reads ahead: larger reads take twice as long, and leave a page cache in small pieces
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def of_bytes(data: bytes | memoryview) -> str:
    """Digest of a byte string."""
    return xxhash.xxh3_128_hexdigest(data)


def of_json(value: Any) -> str:
    """Digest of a JSON value in canonical form: sorted keys, no white space, floats as repr."""
    return of_bytes(canonical(value).encode())


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no white space, no NaN."""
    return _CANONICAL.encode(value)


def of_file(path: str | Path) -> str:
    """Digest of a file's contents."""
    with Path(path).open("rb") as file:
        return of_stream(file)


def of_stream(file: BinaryIO) -> str:
    """Digest of what is left to read."""
    state = xxhash.xxh3_128()
    while chunk := file.read(CHUNK):
        state.update(chunk)
    return state.hexdigest()


def of_folder(path: str | Path) -> str:
    """Digest of the relative names and contents of all files below a folder."""
    root = Path(path)
    files = sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())
    return of_json([[name, of_file(root / name)] for name in files])
