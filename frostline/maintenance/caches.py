"""A source's cache as its manifest lists it."""

import functools
from dataclasses import dataclass
from pathlib import Path

from frostline import files, records, storage
from frostline.contract import LatentSpace
from frostline.records import Record
from frostline.storage import Blob
from frostline.store import locations
from frostline.store.far import Far, Where
from frostline.store.layout import MANIFEST


class ListedPart(Record):
    """What a manifest says of a part."""

    name: str
    rows: int
    bytes: int
    digest: str


class Listing(Record):
    """What a manifest says."""

    latent_space: LatentSpace
    parts: tuple[ListedPart, ...]
    rows: dict[str, int]  # by bucket and split
    prompts: dict[str, str]  # text ids of the preview prompts
    frozen_parameters: dict[str, int]
    negative: dict[str, str] | None = None  # text id of what guidance steers away from; unsaid: the null prompt


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A folder of parts, and what its manifest says of them."""

    source: str
    folder: Path
    listing: Listing
    address: str | None  # of the store its parts are in; None: they are in the folder

    @property
    def space(self) -> LatentSpace:
        """Of all its parts."""
        return self.listing.latent_space

    @property
    def rows(self) -> int:
        """Of all buckets and splits, prompts among them."""
        return sum(self.listing.rows.values())

    def path(self, part: ListedPart) -> Path:
        """Where a part lies, or should; for one in a store only what it is called when something is said of it."""
        return self.folder / part.name

    @functools.cached_property
    def objects(self) -> dict[str, Blob]:
        """What there is at the address, by names of parts, as it was when it was first asked for."""
        if self.address is None:
            return {}
        there = storage.objects(self.address)
        keys = {part.name: locations.key(part.name, part.digest) for part in self.listing.parts}
        return {name: there[key] for name, key in keys.items() if key in there}

    def where(self, name: str) -> Where:
        """A part, to be opened; raises KeyError for one that a store lacks."""
        return self.folder / name if self.address is None else Far(self.objects[name])

    def names(self, kind: str) -> list[str]:
        """Names of the parts of a kind, in their order."""
        return [part.name for part in self.listing.parts if part.name.startswith(f"{kind}/")]


def read(source: str, folder: Path) -> Cache:
    """A source's cache; raises WrongUse if its manifest is not there, damaged, or lacks something."""
    path = folder / MANIFEST
    listing = records.parse(Listing, files.read_json(path), origin=str(path))
    return Cache(source=source, folder=folder, listing=listing, address=locations.address_of(folder))
