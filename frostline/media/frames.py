"""Frame folders: a clip as a folder of images, given in their order."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from frostline.media import images, kinds
from frostline.media.kinds import Unusable
from frostline.storage import Blob


def read(blobs: Sequence[Blob], shown: Sequence[int], max_pixels: int) -> np.ndarray:
    """The images of these numbers: uint8 (T, H, W, 3)."""
    if not blobs or max(shown) >= len(blobs):
        raise Unusable("too_short", f"{name(blobs)}: ends before frame {max(shown) + 1}")
    taken: dict[int, np.ndarray] = {}
    first: tuple[int, int] | None = None
    for number in sorted(set(shown)):
        with kinds.opened(blobs[number]) as opened:
            picture = images.decode(opened, max_pixels)
        first = first or picture.size
        require_size(blobs[number], picture.size, first)
        taken[number] = np.asarray(picture)
    return np.stack([taken[number] for number in shown])


def require_size(blob: Blob, size: tuple[int, int], first: tuple[int, int]) -> None:
    """Refuse a frame whose (width, height) is not that of the first."""
    if size != first:
        message = f"{size[0]} x {size[1]} pixels, the first frame {first[0]} x {first[1]}: its frames differ in size"
        raise Unusable("unreadable", f"{kinds.shown(blob)}: {message}")


def name(blobs: Sequence[Blob]) -> str:
    """How messages name a frame folder."""
    return str(PurePosixPath(kinds.shown(blobs[0])).parent) if blobs else "a folder of no frames"
