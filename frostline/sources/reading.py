"""The pixels of a row, read or drawn again: all that is needed of a source once its rows are known."""

import functools

import numpy as np

from frostline import media
from frostline.errors import WrongUse
from frostline.manifest import Row
from frostline.media import Medium, kinds
from frostline.media.workers import content
from frostline.params.sources import AnyMediaParams, DigitsParams, PromptsParams, SourceParams, WorldParams
from frostline.sources import embedded, listing
from frostline.storage import Blob

REMEDY = "run prepare again, with --verify if the file's size and times are what they were"


def pixels(params: SourceParams, row: Row) -> np.ndarray:
    """The pixels of one row: uint8 (frames, height, width, 3); raises media.Unusable if its media have changed."""
    if isinstance(params, DigitsParams | WorldParams):
        return embedded.pixels(params, row)
    if isinstance(params, PromptsParams):
        raise WrongUse(f"{row.locator}: a prompt of {params.path} has no pixels")
    return _of_media(params, row)


def _of_media(params: AnyMediaParams, row: Row) -> np.ndarray:
    """Read, crop, resize and mirror a row: uint8 (frames, height, width, 3)."""
    blobs = listing.blobs(params, row.file, row.offset, row.size)
    medium = _medium(row)
    if _content(blobs, medium) != row.content:
        raise media.Unusable("changed", f"{row.locator}: its bytes are not those of the manifest; {REMEDY}")
    try:
        raw = media.read(blobs, medium, row.shown, row.pts, params.max_pixels)
        made = media.resize(raw, row.crop, row.height, row.width)
        return np.ascontiguousarray(made[:, :, ::-1]) if row.flip else made
    except MemoryError:
        raise kinds.out_of_memory(row.locator) from None


@functools.lru_cache(maxsize=64)
def _content(blobs: tuple[Blob, ...], medium: Medium) -> str:
    """The digest of a medium's bytes; the windows of one clip ask for it one after the other."""
    return content(blobs, medium)


def _medium(row: Row) -> Medium:
    if row.medium not in ("image", "clip", "frames"):
        raise media.Unusable("changed", f"{row.locator}: a row of medium {row.medium!r} is of another kind of source")
    return row.medium
