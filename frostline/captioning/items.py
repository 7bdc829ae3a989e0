"""What is captioned, and how it is known again."""

from collections.abc import Generator, Sequence
from typing import Protocol

from frostline import digests
from frostline.media.kinds import Medium
from frostline.media.probing import Limits
from frostline.storage import Blob

LIMITS = Limits(max_pixels=89_000_000, max_frames=1_000_000)  # params.yaml's own are applied when media are probed


class Uncaptioned(Protocol):
    """What is asked of an item: an Entry of frostline/sources/entries.py has it."""

    @property
    def locator(self) -> str:
        """Its name, unique among the items."""
        ...

    @property
    def file(self) -> str:
        """Where its bytes lie, below the source's root."""
        ...

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Its bytes: one, or one per frame."""
        ...

    @property
    def medium(self) -> Medium | None:
        """What it is; None: its first bytes decide."""
        ...


Said = Generator[tuple[Uncaptioned, str], None, None]  # items and captions, in any order; "" where there are no words


def stamp(blobs: Sequence[Blob]) -> str:
    """Changes when the bytes do; "" where nobody looked."""
    if not all(blob.stamp for blob in blobs):
        return ""
    return digests.of_json([[blob.path, blob.offset, blob.size, blob.stamp] for blob in blobs])


def content(blobs: Sequence[Blob]) -> str:
    """The digest of the bytes."""
    contents = []
    for blob in blobs:
        with blob.open() as file:
            contents.append(digests.of_stream(file))
    return digests.of_json(contents)
