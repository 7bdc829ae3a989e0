"""Parts in a store that no manifest lists any more: of caches as they were before.

Publishing removes nothing, as somebody may still read by an older manifest: a training, or an older commit of the
project. So they go when they are asked to, by their age.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from frostline import files, records, storage
from frostline.maintenance import caches
from frostline.maintenance.caches import Cache, Listing
from frostline.storage import Blob
from frostline.store import locations
from frostline.store.layout import MANIFEST

DAY = 86_400.0  # seconds
KEY = re.compile(r"(items/\d+x\d+x\d+|prompts|captions|text)/[0-9a-f]{16}-[0-9a-f]{32}\.parquet")


@dataclass(frozen=True, kw_only=True)
class Superseded:
    """Objects at an address that may go."""

    address: str
    objects: tuple[Blob, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(one.size for one in self.objects)


def find(cache: Cache, days: int) -> Superseded:
    """Parts of a source that were put there more than so many days ago and that neither manifest lists.

    The manifests are that of the cache and that in the store. Nothing is found for a cache that is in no store.
    """
    if cache.address is None:
        return Superseded(address=str(cache.folder), objects=())
    there, ages = storage.objects(cache.address), storage.ages(cache.address)
    used = _keys(cache.listing)
    if MANIFEST in there:
        used |= _keys(_listing(there[MANIFEST]))
    old = [name for name in sorted(there.keys() & ages.keys()) if name not in used and KEY.fullmatch(name)]
    gone = tuple(there[name] for name in old if ages[name] > days * DAY)
    return Superseded(address=cache.address, objects=gone)


def remove(found: Iterable[Superseded]) -> None:
    """Remove what was found."""
    for one in found:
        for entry in one.objects:
            storage.remove(entry.path)


def all_of(names: Sequence[str], latents: Path, days: int) -> list[Superseded]:
    """What may go of the caches of some sources, of those that were made."""
    made = [name for name in names if (latents / name / MANIFEST).is_file()]
    return [find(caches.read(name, latents / name), days) for name in made]


def _keys(listing: Listing) -> set[str]:
    return {locations.key(part.name, part.digest) for part in listing.parts}


def _listing(entry: Blob) -> Listing:
    return records.parse(Listing, files.parse_json(entry.read(entry.size), entry.path), origin=entry.path)
