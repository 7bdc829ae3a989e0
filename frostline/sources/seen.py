"""What was seen of a medium that could be decoded: enough to know it again, to compare it and to count it."""

from dataclasses import dataclass

import numpy as np

from frostline.manifest import Columns
from frostline.media import Probe
from frostline.sources import probing
from frostline.sources.entries import Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One medium."""

    locator: str
    medium: str  # image, clip or frames
    line: str  # see ``line``
    key: str  # see ``key``
    content: str  # digest of its bytes
    hashes: bytes  # these and what follows: see Measures
    brightness: float
    sharpness: float
    motion: float


def of(entry: Entry, probe: Probe) -> Seen:
    """What a probe tells of a medium."""
    shown = probe.measures
    return Seen(
        locator=entry.locator,
        medium=probe.medium,
        line=line(entry),
        key=key(entry, probe.content),
        content=probe.content,
        hashes=np.array(shown.hashes, np.uint64).tobytes(),
        brightness=shown.brightness,
        sharpness=shown.sharpness,
        motion=shown.motion,
    )


def line(entry: Entry) -> str:
    """All that is listed of a medium, with its stamps; "" where nobody knows when its bytes change."""
    stamp = probing.stamp_of(entry)
    captions = [text for caption in entry.captions for text in (caption.text, str(caption.weight))]
    facts = (entry.locator, stamp, entry.file, entry.medium or "", entry.item or "", entry.attributes, *captions)
    return "\0".join(facts) if stamp else ""


def key(entry: Entry, content: str) -> str:
    """What a medium's split goes by: the item's name, or its content, so that copies stay together."""
    return entry.item or content


def tied(some: Columns[Seen], others: Columns[Seen], distance: int) -> bool:
    """Could a group, of near-duplicates, of copies or of one item, reach from one to the other?"""
    if not len(some):
        return False
    if any(not set(some.values(name)).isdisjoint(others.values(name)) for name in ("key", "content")):
        return True
    kinds = (True, False) if distance else ()
    return any(_near(_hashes(some, still=still), _hashes(others, still=still), distance) for still in kinds)


def _near(some: np.ndarray, others: np.ndarray, distance: int) -> bool:
    return any((np.bitwise_count(others ^ one) <= distance).all(axis=1).any() for one in some)


def _hashes(media: Columns[Seen], *, still: bool) -> np.ndarray:
    """Of images, or of all others; uint64 (n, k)."""
    pairs = zip(media.values("hashes"), media.values("medium"), strict=True)
    chosen = [hashes for hashes, medium in pairs if (medium == "image") == still]
    return np.frombuffer(b"".join(chosen), np.uint64).reshape(len(chosen), -1 if chosen else 1)
