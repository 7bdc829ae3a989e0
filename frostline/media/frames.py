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
    for number in sorted(set(shown)):
        with kinds.opened(blobs[number]) as opened:
            taken[number] = np.asarray(images.decode(opened, "RGB", max_pixels))
        require_size(blobs[number], taken[number].shape, taken[min(taken)].shape)
    return np.stack([taken[number] for number in shown])


def require_size(blob: Blob, shape: tuple[int, ...], first: tuple[int, ...]) -> None:
    """Refuse a frame of another size than the first."""
    if shape != first:
        message = f"{shape[1]} x {shape[0]} pixels, the first frame {first[1]} x {first[0]}: its frames differ in size"
        raise Unusable("unreadable", f"{kinds.shown(blob)}: {message}")


def name(blobs: Sequence[Blob]) -> str:
    """How messages name a frame folder."""
    return str(PurePosixPath(kinds.shown(blobs[0])).parent) if blobs else "a folder of no frames"
