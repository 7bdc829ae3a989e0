"""Where the parts of a cache are: in its folder, or in an object store that a file in the folder names.

In a store each part lies under its name and its digest. So an object never changes, whoever publishes: parts of several
states of a source are there side by side, and a manifest names those of one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from frostline import digests, files, storage
from frostline.errors import Refused
from frostline.storage import Blob, Blocks
from frostline.store import far
from frostline.store.far import Far
from frostline.store.layout import MANIFEST, REMEDY

STORE = "store.json"  # in a cache's folder: where its parts are
DIGESTING = 4  # files at once
OPENING = 32  # parts in a store at once: each waits for several answers, one after the other

T = TypeVar("T")


def key(name: str, digest: str) -> str:
    """What a part is called in a store, below its source's prefix."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{digest}{path.suffix}"))


def address_of(folder: Path) -> str | None:
    """Where the parts of the cache in a folder are, or None if they are in the folder."""
    path = folder / STORE
    return files.read_json(path)["address"] if path.exists() else None


class Here:
    """Parts in the folder of their cache."""

    blocks = None

    def __init__(self, folder: Path, parts: Sequence[Mapping[str, Any]]) -> None:
        """``parts`` as the manifest lists them; raises Refused unless the folder holds exactly these, as digested."""
        self._folder = folder
        verify(folder, parts)

    def part(self, name: str) -> Path:
        """A part by its name."""
        return self._folder / name

    def each(self, work: Callable[[str], T], names: Iterable[str]) -> list[T]:
        """What ``work`` gives for each name."""
        return list(map(work, names))


class There:
    """Parts in an object store, as they are there now."""

    def __init__(self, address: str, parts: Sequence[Mapping[str, Any]], blocks: Blocks | None) -> None:
        """``parts`` as the manifest lists them; raises Refused, naming it, for one that is not there or cut short.

        Rows come by way of ``blocks``.
        """
        self.blocks = blocks
        there = storage.objects(address)
        self._parts: dict[str, Blob] = {}
        for part in parts:
            name = key(part["name"], part["digest"])
            path = storage.join(address, name)
            if name not in there:
                raise Refused(f"{path}: missing; {far.REMEDY}")
            if (size := there[name].size) != part["bytes"]:
                raise Refused(f"{path}: has {size} bytes where the manifest says {part['bytes']}; {far.REMEDY}")
            self._parts[part["name"]] = there[name]

    def part(self, name: str) -> Far:
        """A part by its name."""
        return Far(self._parts[name])

    def each(self, work: Callable[[str], T], names: Iterable[str]) -> list[T]:
        """What ``work`` gives for each name, of many at once."""
        with ThreadPoolExecutor(OPENING) as threads:
            return list(threads.map(work, names))


Place = Here | There


def of(folder: Path, parts: Sequence[Mapping[str, Any]], blocks: Blocks | None) -> Place:
    """Where the parts of the cache in a folder are, after a look whether all are there."""
    address = address_of(folder)
    return Here(folder, parts) if address is None else There(address, parts, blocks)


def verify(folder: Path, parts: Sequence[Mapping[str, Any]]) -> None:
    """Raise Refused unless a folder holds exactly these parts, with these digests."""
    listed = {part["name"] for part in parts}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    if listed != present:
        raise Refused(f"{folder}: missing {sorted(listed - present)}, unlisted {sorted(present - listed)}; {REMEDY}")
    with ThreadPoolExecutor(DIGESTING) as pool:
        found = pool.map(digests.of_file, (folder / part["name"] for part in parts))
        for part, digest in zip(parts, found, strict=True):
            if digest != part["digest"]:
                name, listed_digest = folder / part["name"], part["digest"]
                raise Refused(f"{name}: digest {digest} is not the manifest's {listed_digest}; {REMEDY}")
