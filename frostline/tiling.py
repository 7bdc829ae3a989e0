"""Where large frames are cut, so that the VAE never sees more pixels of a frame at once than was allowed.

A frame is covered by windows of one size that overlap. Of each window only the latents are kept that no pixel outside
of it can reach: see frostline/piecewise.py, which knows how far that is.

Names:  tile    longest side of a window, in pixels
        stride  pixels per latent along a side
        margin  latents along a window's side that may differ from those of the whole frame
"""

import math
from typing import NamedTuple

from frostline.errors import WrongUse
from frostline.records import Record


class Tiling(Record):
    """How frames are cut for encoding."""

    tile: int | None = None  # longest side of a window in pixels; None: frames are encoded whole

    def key(self) -> str:
        """What the identity of a latent says of it."""
        return "untiled" if self.tile is None else str(self.tile)


WHOLE = Tiling()


class Span(NamedTuple):
    """One window along one side of a frame, and what is kept of it, in latents from the frame's edge."""

    start: int
    stop: int
    kept_from: int
    kept_to: int

    @property
    def kept(self) -> slice:
        """What is kept, counted along the frame."""
        return slice(self.kept_from, self.kept_to)

    @property
    def kept_inside(self) -> slice:
        """What is kept, counted along the window."""
        return slice(self.kept_from - self.start, self.kept_to - self.start)

    def pixels(self, stride: int) -> slice:
        """The window, in pixels along the frame."""
        return slice(self.start * stride, self.stop * stride)


def chosen(height: int, width: int, *, most_pixels: int, stride: int) -> Tiling:
    """Whole frames of at most ``most_pixels`` pixels, square windows of at most as many of larger ones."""
    if height * width <= most_pixels:
        return WHOLE
    return Tiling(tile=math.isqrt(most_pixels) // stride * stride)


def spans(size: int, tile: int | None, *, stride: int, margin: int) -> list[Span]:
    """The fewest windows of at most ``tile`` pixels that cover a side of ``size`` pixels and keep each latent once.

    Raises WrongUse for a tile that is no multiple of the stride or holds nothing but margins.
    """
    length = size // stride
    if tile is None:
        return [Span(0, length, 0, length)]
    if tile % stride or tile <= 2 * margin * stride:
        raise WrongUse(
            f"tile {tile}: must be a multiple of {stride} above {2 * margin * stride} pixels, "
            f"as this VAE sees {margin * stride} pixels to each side: windows ask for cache.most_pixels of "
            f"{((2 * margin + 1) * stride) ** 2} at least"
        )
    if tile >= size:
        return [Span(0, length, 0, length)]
    inner = length - 2 * margin
    count = math.ceil(inner / (tile // stride - 2 * margin))
    step = math.ceil(inner / count)  # no wider than the number of windows asks for
    window = step + 2 * margin
    starts = [min(number * step, length - window) for number in range(count)]
    cuts = [0, *(start + margin for start in starts[1:]), length]
    return [Span(start, start + window, *cuts[number : number + 2]) for number, start in enumerate(starts)]
