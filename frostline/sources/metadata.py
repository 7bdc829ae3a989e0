"""metadata.jsonl: one JSON object per line, naming a file (or frame folder) and its caption.

    {"file_name": "cats/1.png", "text": "a cat on a mat"}
    {"file_name": "film/2.mp4", "text": "a door opens", "item": "film", "camera": "A"}

``file_name`` is relative to the folder. ``item``, if given, names what the file was cut from: all files of an item are
in one split. The caption's key is a param; every other key becomes an attribute of the rows.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from frostline import digests
from frostline.errors import WrongUse

FILE = "metadata.jsonl"
NAME, ITEM = "file_name", "item"
NOT_MEDIA = frozenset({".csv", ".json", ".jsonl", ".md", ".parquet", ".txt", ".yaml", ".yml"})  # may lie beside media


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of metadata.jsonl."""

    locator: str  # relative, without "." and ".."
    item: str | None
    caption: str
    attributes: str  # JSON object
    line: int  # from 1


def read(root: Path, caption: str) -> list[Entry]:
    """The entries in the order of their names; raises WrongUse naming file, line and remedy."""
    if not root.is_dir():
        raise WrongUse(f"{root}: no such folder; correct the path of its source in params.yaml")
    entries: dict[str, Entry] = {}
    for line, values in _objects(root / FILE):
        entry = _entry(root, values, caption, line)
        if entry.locator in entries:
            first = entries[entry.locator].line
            raise WrongUse(f"{root / FILE}:{line}: {entry.locator!r} stands in line {first} already; keep one of them")
        entries[entry.locator] = entry
    _require_inside(root, list(entries.values()))
    return sorted(entries.values(), key=lambda entry: entry.locator)


def unnamed(root: Path, entries: Sequence[Entry], *, folders: bool) -> list[str]:
    """Media that no entry names: files, or the folders that hold files where an item is a folder."""
    named = {entry.locator for entry in entries}
    files = [file for file in _files(root) if file.suffix.lower() not in NOT_MEDIA and file != root / FILE]
    inside = [file.parent if folders and file.parent != root else file for file in files]
    return sorted({path.relative_to(root).as_posix() for path in inside} - named)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        raise WrongUse(f"{path}: no such file; write one line per file: {_example('text')}{_elsewhere(path)}")
    for line, text in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if text.strip():
            yield line, _object(path, line, text)


def _object(path: Path, line: int, text: bytes) -> dict[str, Any]:
    try:
        values = json.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise WrongUse(f"{path}:{line}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise WrongUse(f"{path}:{line}: not JSON ({error}); write {_example('text')}") from None
    if not isinstance(values, dict):
        raise WrongUse(f"{path}:{line}: not a JSON object; write {_example('text')}")
    return values


def _entry(root: Path, values: dict[str, Any], caption: str, line: int) -> Entry:
    where, rest = f"{root / FILE}:{line}", dict(values)
    locator = _locator(root, _text(rest, NAME, where, caption), where)
    text = "" if caption in rest and rest[caption] is None else _text(rest, caption, where, caption)
    item = _text(rest, ITEM, where, caption) if ITEM in rest else None
    attributes = {key: value for key, value in rest.items() if key not in (NAME, ITEM, caption)}
    return Entry(locator=locator, item=item, caption=text, attributes=_attributes(attributes, where), line=line)


def _text(values: dict[str, Any], key: str, where: str, caption: str) -> str:
    if key not in values:
        keys = ", ".join(map(repr, values))
        raise WrongUse(
            f"{where}: no {key!r} (it has {keys}); write {_example(caption)}, or name the caption's key in params"
        )
    if not isinstance(values[key], str):
        raise WrongUse(f"{where}: {key!r} is {values[key]!r}; write a text in quotes")
    return values[key]


def _attributes(values: dict[str, Any], where: str) -> str:
    try:
        return digests.canonical(values)
    except ValueError as error:
        raise WrongUse(f"{where}: {error}; write null for a number that is not one") from None


def _locator(root: Path, name: str, where: str) -> str:
    """The name in normal form; refuses what leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or not name.isprintable():
        raise WrongUse(
            f"{where}: {name!r} is no plain path below {root}; name files relative to that folder, without '..'"
        )
    return path.as_posix()


def _require_inside(root: Path, entries: Sequence[Entry]) -> None:
    """Refuse folders that are links to the outside; a file itself may be one, as in the caches of DVC and the hub."""
    lines = {(root / entry.locator).parent: entry.line for entry in reversed(entries)}
    for folder, line in lines.items():
        if not folder.resolve().is_relative_to(root.resolve()):
            raise WrongUse(f"{root / FILE}:{line}: {folder} is a link that leads out of {root}; copy that folder in")


def _files(root: Path) -> Iterator[Path]:
    """All files below a folder but hidden ones; links to folders are not followed, so there is no loop."""
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))


def _example(caption: str) -> str:
    return json.dumps({NAME: "a.png", caption: "what it shows"})


def _elsewhere(path: Path) -> str:
    """A hint, where the folder holds several data sets."""
    found = sorted(other.parent.name for other in path.parent.glob(f"*/{path.name}"))
    return f"; or make the path one of its folders that have one: {', '.join(found)}" if found else ""
