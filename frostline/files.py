"""Files that are either whole or not there: written beside, synced, then renamed."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frostline.errors import Refused, WrongUse

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole, or leave the old one as it was."""
    with replacing(path) as beside:
        beside.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file whole, or leave the old one as it was."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file with sorted keys, so that equal values are equal bytes."""
    write_text(path, json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raises WrongUse naming the file if it is absent or damaged."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise WrongUse(f"{path}: no such file") from None
    return parse_json(data, path)


def parse_json(data: bytes, path: str | Path) -> Any:
    """The value of a JSON file's bytes; raises WrongUse naming the file if they are damaged."""
    try:
        return json.loads(data.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WrongUse(f"{path}: not a JSON file ({error}); make it again with the stage that writes it") from None


@contextlib.contextmanager
def written(path: str | Path) -> Iterator[None]:
    """While something is written for ``path``: raises Refused naming it where a disk is full or may not be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE or not _concerns(error, path):
            raise
        why = os.strerror(error.errno)
        remedy = "make room, or let it be written, and run again: what was finished is kept"
        raise Refused(f"{path}: cannot be written: {why}; {remedy}") from error


def _concerns(error: OSError, path: str | Path) -> bool:
    """Whether an error is of a path, its folder or what lies in that: what is read meanwhile may fail as well."""
    if not isinstance(error.filename, str):
        return True
    named, own = (Path(place).absolute() for place in (error.filename, path))
    return named.is_relative_to(own.parent) or own.is_relative_to(named)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write; on success it takes the name ``path``, else it goes."""
    path = Path(path)
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        beside = Path(name)
        try:
            yield beside
            beside.chmod(0o644)
            sync(beside)
            beside.replace(path)
            sync(path.parent)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: str | Path, *, synced: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` to fill; on success it takes the name ``path``, else it goes.

    ``synced``: the files that are put there are on the disk already, as links to such are.

    What stood at ``path`` before is replaced, and what a killed writer of ``path`` left beside it goes: whoever writes
    an output holds its lock.
    """
    path = Path(path)
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{path.name}.*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        beside.chmod(0o755)
    try:
        yield beside
        for file in beside.rglob("*"):
            if file.is_dir() or not synced:
                sync(file)
        sync(beside)
        take_place(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def take_place(folder: Path, path: Path) -> None:
    """Give a finished folder the name ``path``; what had that name is moved aside first and removed last."""
    aside = path.with_name(f".{path.name}.old")
    if path.exists():
        path.rename(aside)
    folder.rename(path)
    sync(path.parent)
    if aside.exists():
        shutil.rmtree(aside)


def sync(path: Path) -> None:
    """Ask the disk to keep a file or a folder's list of names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
