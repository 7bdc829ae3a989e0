"""Tensors in files, one at a time: the one door to what others wrote, as safetensors or zip files of torch.save.

Nothing in a file is run: a zip file is read with ``weights_only``, and what is neither is refused. A file that is
shorter than it says is refused before a tensor is read. Files are written tensor by tensor too, so that no more than
one is held, and equal tensors are equal bytes.
"""

import contextlib
import json
import math
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from frostline import digests, files
from frostline.errors import Refused, WrongUse

SAFETENSORS, ZIP = ".safetensors", (".pth", ".pt", ".bin", ".ckpt")
SUFFIXES = (SAFETENSORS, *ZIP)
HEADER_LIMIT = 100_000_000  # bytes; the limit of the safetensors library

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """What a tensor is, but for its numbers."""

    dtype: torch.dtype
    shape: Shape

    @property
    def bytes(self) -> int:
        """How many bytes its numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Opened:
    """The tensors of one file, while it is open."""

    path: Path
    kinds: Mapping[str, Kind]
    metadata: Mapping[str, str]
    read: Callable[[str], Tensor]  # may lie in the mapped file: copy what is to outlive it


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """One file of tensors by name.

    Raises WrongUse if there is no such file, Refused if it is cut short, damaged, or more than tensors.
    """
    if not path.is_file():
        raise WrongUse(f"{path}: no such file")
    if path.suffix == SAFETENSORS:
        with _safetensors(path) as found:
            yield found
    else:
        yield _zip(path)


def kinds(path: Path) -> dict[str, Kind]:
    """What a file's tensors are, by name; raises as ``opened``."""
    with opened(path) as found:
        return dict(found.kinds)


def write(path: Path, kinds: Mapping[str, Kind], read: Callable[[str], Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file of these tensors, each asked for once, in the order of their names."""
    order = in_order(kinds)
    header, offset = {"__metadata__": {"format": "pt", **metadata}}, 0
    for name in order:
        end = offset + kinds[name].bytes
        header[name] = _entry(kinds[name], offset, end)
        offset = end
    text = digests.canonical(header).encode()
    text = text.ljust(-len(text) % 8 + len(text))
    with files.replacing(path) as beside, beside.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(_bytes(read(name), kinds[name], name))


def in_order(kinds: Mapping[str, Kind]) -> list[str]:
    """Names of tensors in the order in which they are written: the widest numbers first, so that all are aligned."""
    return sorted(kinds, key=lambda name: (-kinds[name].dtype.itemsize, name))


def kinds_of(tensors: Mapping[str, Tensor]) -> dict[str, Kind]:
    """What tensors are, by name; those that are spread over processes as they are whole."""
    return {name: Kind(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def full(tensor: Tensor) -> Tensor:
    """One tensor, whole and on the CPU: all processes that have parts of it ask at once."""
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu()


def _entry(kind: Kind, start: int, end: int) -> dict[str, Any]:
    return {"dtype": CODES[kind.dtype], "shape": list(kind.shape), "data_offsets": [start, end]}


def _bytes(tensor: Tensor, kind: Kind, name: str) -> bytes | memoryview:
    if (tensor.dtype, tuple(tensor.shape)) != (kind.dtype, kind.shape):
        raise Refused(f"tensor {name!r} is {tensor.dtype} {tuple(tensor.shape)}, announced as {kind}")
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""


@contextlib.contextmanager
def _safetensors(path: Path) -> Iterator[Opened]:
    entries = header(path)
    metadata = entries.pop("__metadata__", {})
    with safetensors.safe_open(path, "pt") as file:
        yield Opened(path, {name: _kind(path, entry) for name, entry in entries.items()}, metadata, file.get_tensor)


def _kind(path: Path, entry: Mapping[str, Any]) -> Kind:
    if entry["dtype"] not in DTYPES:
        raise Refused(f"{path}: numbers of the kind {entry['dtype']!r} are not read; known: {', '.join(DTYPES)}")
    return Kind(DTYPES[entry["dtype"]], tuple(entry["shape"]))


def header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file that is as long as it says; raises Refused if it is not."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, HEADER_LIMIT):
            raise Refused(f"{path}: not a safetensors file, or cut short in its header; fetch it again")
        text = file.read(length)
    try:
        entries: dict[str, Any] = json.loads(text)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise Refused(f"{path}: not a safetensors file: its header is damaged; fetch it again") from None
    whole = 8 + length + max(ends, default=0)
    if size != whole:
        kind = "cut short" if size < whole else "too long"
        raise Refused(f"{path}: {kind}: {size} bytes where its header says {whole}; fetch it again")
    return entries


def _zip(path: Path) -> Opened:
    if not zipfile.is_zipfile(path):
        raise Refused(
            f"{path}: neither safetensors nor a zip file of torch.save, or cut short; an old pickle can run code when "
            "it is opened: ask for safetensors, or fetch it again"
        )
    tensors = _unwrapped(path, _loaded(path))
    return Opened(path, kinds_of(tensors), {}, tensors.__getitem__)


def _loaded(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise Refused(
            f"{path}: holds more than tensors, and opening that would run code ({_first_line(error)}); ask for "
            "safetensors"
        ) from None
    except (RuntimeError, EOFError, ValueError) as error:
        raise Refused(f"{path}: damaged ({_first_line(error)}); fetch it again") from None


def _unwrapped(path: Path, loaded: Any) -> dict[str, Tensor]:
    """The tensors of a file, which may lie one level down, beside other things of a training."""
    for key in ("state_dict", "model_state", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        raise Refused(f"{path}: holds a {type(loaded).__name__}, not tensors by name")
    others = sorted(str(name) for name, value in loaded.items() if not isinstance(value, Tensor))
    if others:
        raise Refused(f"{path}: not tensors: {', '.join(others[:5])}; a file of weights alone is asked for")
    return loaded


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
