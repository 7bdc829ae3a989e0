"""Names in tables, and the media they name: found below the source's folder, or said to be absent."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from frostline import digests, storage
from frostline.errors import WrongUse
from frostline.manifest import Rejected
from frostline.sources.entries import Caption, Entry, Listing, Medium
from frostline.sources.listing import captions
from frostline.storage import Blob, Passed

NOT_MEDIA = frozenset({".csv", ".json", ".jsonl", ".md", ".parquet", ".txt", ".yaml", ".yml"})  # may lie beside media


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One line of a table."""

    locator: str  # relative, without "." and ".."
    captions: tuple[Caption, ...]
    item: str | None
    attributes: str  # JSON object
    where: str  # file and line, for messages


def locator(name: Any, root: str, where: str) -> str:
    """A relative name in normal form; refuses what leads out of the folder or cannot be shown."""
    path = PurePosixPath(name) if isinstance(name, str) else None
    if path is None or path.is_absolute() or ".." in path.parts or not path.parts or not _showable(str(name)):
        raise WrongUse(
            f"{where}: {str(name)[:200]!a} is no plain path below {root}; name files relative to it, without '..'"
        )
    return path.as_posix()


def attributes(values: dict[str, Any], where: str) -> str:
    """What else a line says, as a JSON object."""
    try:
        return captions.require_unicode(digests.canonical(values), where)
    except (ValueError, TypeError) as error:
        raise WrongUse(f"{where}: {error}; write null for a number that is not one") from None


def item(value: Any, key: str, where: str) -> str | None:
    """What a medium was cut from: a text or null."""
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise WrongUse(f"{where}: {key!r} is {value!r}; write a name in quotes")
    return None if value is None else captions.require_unicode(value, where)


def json_object(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object in UTF-8."""
    value = json_value(data, where)
    if not isinstance(value, dict):
        raise WrongUse(f"{where}: not a JSON object but {str(value)[:80]!a}")
    return value


def json_value(data: bytes, where: str) -> Any:
    """A JSON value in UTF-8."""
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise WrongUse(f"{where}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise WrongUse(f"{where}: not JSON ({error})") from None


def by_locator(lines: Iterable[Named]) -> dict[str, Named]:
    """Lines by what they name; refuses two for one medium."""
    named: dict[str, Named] = {}
    for line in lines:
        if line.locator in named:
            first = named[line.locator].where
            raise WrongUse(f"{line.where}: {line.locator!r} stands in {first} already; keep one of them")
        named[line.locator] = line
    return named


def find_files(source: str, root: str, named: dict[str, Named], medium: Medium | None, below: str = "") -> Listing:
    """The named files; and all other media below ``root`` (or its folder ``below``), which have no captions."""
    found, passed = storage.walk(storage.join(root, below) if below else root)
    tree = {below + name: blob for name, blob in found}
    passed = [dataclasses.replace(entry, name=below + entry.name) for entry in passed]
    for name in tree:
        if name not in named and is_medium(name):
            named[name] = unnamed(name)
    rejected = {entry.locator: entry for entry in untaken(source, passed, named)}
    require_inside(root, (line for name, line in named.items() if name not in tree))
    entries: list[Entry] = []
    for name, line in named.items():
        there = tree.get(name) or look(source, root, line, name)
        if isinstance(there, Rejected):
            rejected.setdefault(name, there)
        else:
            entries.append(entry(line, name, (there,), medium))
    return Listing(entries, list(rejected.values()))


def unnamed(name: str) -> Named:
    """What no table describes."""
    return Named(locator=name, captions=(), item=None, attributes="{}", where=name)


def entry(line: Named, file: str, blobs: tuple[Blob, ...], medium: Medium | None) -> Entry:
    """A line and the bytes it names."""
    return Entry(
        locator=line.locator,
        file=file,
        blobs=blobs,
        medium=medium,
        item=line.item,
        captions=line.captions,
        attributes=line.attributes,
    )


def is_medium(name: str) -> bool:
    """Could it be one, by its name? What it is, its first bytes say later."""
    return is_of_medium(split(name)[1])


def is_of_medium(extension: str) -> bool:
    """The same of an extension."""
    return extension.lower() not in NOT_MEDIA


def split(name: str) -> tuple[str, str]:
    """A name that is not hidden, and its extension apart, as posixpath.splitext has them but quicker."""
    at = name.rfind(".")
    return (name[:at], name[at:]) if at > name.rfind("/") + 1 else (name, "")


def absent(source: str, name: str) -> Rejected:
    """What is named but not there."""
    return Rejected(source=source, locator=name, reason="absent", detail=f"{name}: no such file")


def untaken(source: str, passed: Sequence[Passed], named: Iterable[str] = ()) -> list[Rejected]:
    """What a folder holds that cannot be taken; a linked folder that a table names files of is not among it."""
    links = any(entry.reason == "link_to_folder" for entry in passed)
    used = {str(folder) for name in named for folder in (name, *PurePosixPath(name).parents)} if links else set()
    return [
        Rejected(source=source, locator=entry.name, reason=entry.reason, detail=entry.detail)
        for entry in passed
        if not (entry.reason == "link_to_folder" and entry.name in used)
    ]


def look(source: str, root: str, line: Named, file: str) -> Blob | Rejected:
    """A named file that no tree shows: in a linked or hidden folder, absolute, or not there."""
    try:
        return storage.blob(root, file)
    except storage.Gone:
        return absent(source, line.locator)
    except WrongUse as error:
        detail = str(error).replace(f"{root}/", "")  # tables hold no absolute paths
        return Rejected(source=source, locator=line.locator, reason="unreadable", detail=detail)


def require_inside(root: str, lines: Iterable[Named]) -> None:
    """Refuse linked folders that lead out; a file itself may be a link, as in the caches of DVC and the hub."""
    if storage.is_remote(root):
        return
    home = Path(root).resolve()
    for folder, line in {str(PurePosixPath(line.locator).parent): line for line in lines}.items():
        try:
            inside = (Path(root) / folder).resolve().is_relative_to(home)
        except RuntimeError as error:
            raise WrongUse(f"{line.where}: {folder}: {error}; take the loop of links out") from None
        if not inside:
            raise WrongUse(f"{line.where}: {folder} is a link that leads out of {root}; copy that folder in")


def _showable(name: str) -> bool:
    return "\\" not in name and storage.nameable(name)
