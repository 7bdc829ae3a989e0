"""What a listing finds: media with their captions, before any of them is opened."""

from dataclasses import dataclass
from typing import Literal

from frostline.manifest import Rejected
from frostline.storage import Blob

Medium = Literal["image", "clip", "frames"]


@dataclass(frozen=True, slots=True)
class Caption:
    """One text that says what a medium shows."""

    text: str
    weight: float  # how often it is drawn, relative to the others of its medium


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One medium."""

    locator: str  # unique in a source: "cats/1.png", "shard-000.tar/00012.jpg"
    file: (
        str  # where its bytes lie, below the listing's root: "cats/1.png", "shard-000.tar"; a frame folder: the folder
    )
    blobs: tuple[Blob, ...]  # one, or one per frame in order
    medium: Medium | None  # None: its first bytes decide
    item: str | None  # what it was cut from, where somebody says so
    captions: tuple[Caption, ...]  # () where nobody described it
    attributes: str  # JSON object


@dataclass(frozen=True, slots=True)
class Listing:
    """All media of a source, by locator, and what cannot be taken."""

    entries: list[Entry]
    rejected: list[Rejected]
