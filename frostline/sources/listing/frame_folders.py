"""Frame folders: a clip as a folder of numbered images."""

import itertools
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from frostline import media, storage
from frostline.errors import WrongUse
from frostline.manifest import Rejected
from frostline.sources.entries import Entry, Listing
from frostline.sources.listing import naming
from frostline.sources.listing.naming import Named
from frostline.storage import Blob

Files = Sequence[tuple[str, Blob]]  # names and bytes


def find(source: str, root: str, named: dict[str, Named]) -> Listing:
    """The named folders, and all others that hold files, which have no captions."""
    found, passed = storage.walk(root)
    folders = _by_folder(found)
    strays = [name for name, _ in folders.pop("", []) if naming.is_medium(name)]
    for folder, inside in folders.items():
        if folder not in named and any(naming.is_medium(name) for name, _ in inside):
            named[folder] = naming.unnamed(folder)
    naming.require_inside(root, (line for name, line in named.items() if name not in folders))
    rejected = [*naming.untaken(source, passed, named), *(_stray(source, name) for name in strays if name not in named)]
    entries: list[Entry] = []
    for folder, line in named.items():
        try:
            entries.append(naming.entry(line, folder, _frames(root, folder, folders), "frames"))
        except media.Unusable as error:
            rejected.append(Rejected(source=source, locator=folder, reason=error.reason, detail=str(error)))
    return Listing(entries, rejected)


def _frames(root: str, folder: str, folders: dict[str, list[tuple[str, Blob]]]) -> tuple[Blob, ...]:
    return in_order(folder, folders[folder]) if folder in folders else frames(root, folder)


def frames(root: str, folder: str) -> tuple[Blob, ...]:
    """The images of one frame folder as they are now; raises media.Unusable."""
    try:
        found, _ = storage.walk(storage.join(root, folder))
    except WrongUse:
        found = []
    return in_order(folder, [(name, blob) for name, blob in found if "/" not in name])


def in_order(folder: str, files: Files) -> tuple[Blob, ...]:
    """The images in the order of the last number in their names; refuses gaps and other files."""
    if not files:
        raise media.Unusable("absent", f"{folder}: no such folder, or an empty one")
    numbered = sorted((_number(name), name, blob) for name, blob in files)
    steps = {after - before for (before, *_), (after, *_) in itertools.pairwise(numbered)}
    if len(steps) > 1 or 0 in steps:
        raise media.Unusable(
            "frames_missing", f"{folder}: its frames are not evenly numbered (gaps or repeats); number them anew"
        )
    return tuple(blob for _, _, blob in numbered)


def _by_folder(found: Files) -> dict[str, list[tuple[str, Blob]]]:
    folders: dict[str, list[tuple[str, Blob]]] = {}
    for name, blob in found:
        folders.setdefault(name.rpartition("/")[0], []).append((name, blob))
    return folders


def _number(name: str) -> int:
    numbers = re.findall(r"[0-9]+", PurePosixPath(name).stem)
    if not numbers:
        message = f"{name}: no number in its name says its place; number it or take it out"
        raise media.Unusable("frames_missing", message)
    return int(numbers[-1][-18:])


def _stray(source: str, name: str) -> Rejected:
    detail = f"{name}: a file outside of any frame folder; put it into one or take it out"
    return Rejected(source=source, locator=name, reason="not_a_folder", detail=detail)
