"""What was seen of a medium that could be decoded: enough to know it again, to compare it and to count it."""

import array
import itertools
from dataclasses import dataclass

import numpy as np

from frostline.manifest import Columns
from frostline.media import Measures, Medium
from frostline.sources.entries import Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One medium."""

    locator: str
    medium: str  # image, clip or frames
    key: str  # see ``key``
    content: str  # digest of its bytes
    hashes: bytes  # uint64; these and what follows: see Measures
    brightness: float
    sharpness: float
    motion: float


class Sights:
    """What is seen of one medium after the other: columns that grow, as an object for each would need much memory."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._media: list[Medium] = []
        self._contents: list[str] = []
        self._firsts = array.array("q")  # places of their first hashes
        self._hashes = array.array("Q")
        self._measures = array.array("d")

    def add(self, entry: Entry, medium: Medium, content: str, measures: Measures) -> None:
        """One more medium, decoded."""
        self._entries.append(entry)
        self._media.append(medium)
        self._contents.append(content)
        self._firsts.append(len(self._hashes))
        self._hashes.extend(measures.hashes)
        self._measures.extend((measures.brightness, measures.sharpness, measures.motion))

    def __len__(self) -> int:
        return len(self._entries)

    def hashes(self, places: np.ndarray) -> np.ndarray:
        """Of the media at some places, which have k each; uint64 (n, k)."""
        firsts = np.append(self._firsts, len(self._hashes))
        each = int(firsts[places[0] + 1] - firsts[places[0]])
        return np.array(self._hashes)[firsts[places][:, None] + np.arange(each)]

    def columns(self) -> Columns[Seen]:
        """All of them."""
        firsts, hashes = [*self._firsts, len(self._hashes)], np.array(self._hashes)
        return Columns.of_values(
            Seen,
            [entry.locator for entry in self._entries],
            self._media,
            [key(entry, content) for entry, content in zip(self._entries, self._contents, strict=True)],
            self._contents,
            [hashes[first:end].tobytes() for first, end in itertools.pairwise(firsts)],
            *(self._measures[place::3] for place in range(3)),
        )


def key(entry: Entry, content: str) -> str:
    """What a medium's split goes by: the item's name, or its content, so that copies stay together."""
    return entry.item or content


def tied(some: Columns[Seen], others: Columns[Seen], distance: int) -> bool:
    """Could a group, of near-duplicates, of copies or of one item, reach from one to the other?"""
    if not len(some):
        return False
    if any(not set(some.values(name)).isdisjoint(others.values(name)) for name in ("key", "content")):
        return True
    kinds = sorted({medium == "image" for medium in some.values("medium")}) if distance else []
    return any(_near(_hashes(some, still=still), _hashes(others, still=still), distance) for still in kinds)


def _near(some: np.ndarray, others: np.ndarray, distance: int) -> bool:
    return any((np.bitwise_count(others ^ one) <= distance).all(axis=1).any() for one in some)


def _hashes(media: Columns[Seen], *, still: bool) -> np.ndarray:
    """Of images, or of all others; uint64 (n, k)."""
    pairs = zip(media.values("hashes"), media.values("medium"), strict=True)
    chosen = [hashes for hashes, medium in pairs if (medium == "image") == still]
    return np.frombuffer(b"".join(chosen), np.uint64).reshape(len(chosen), -1 if chosen else 1)
