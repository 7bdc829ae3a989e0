"""Which bucket (frames, height, width) an item goes to, and which part of it."""

import math
from collections.abc import Sequence

from frostline import digests, media
from frostline.media import Crop, Extent
from frostline.params.sources import CropParams, GridParams

Bucket = tuple[int, int, int]  # frames, height, width


def all_of(params: Sequence[Bucket] | GridParams) -> list[Bucket]:
    """The buckets of a source, each once.

    Of a grid: for every aspect w : h the sides that have the area, sqrt(area * w / h) and sqrt(area * h / w), each to
    the nearest multiple of ``step`` and no less than one.
    """
    if not isinstance(params, GridParams):
        return list(params)
    sizes = dict.fromkeys(
        (_side(params, height / width), _side(params, width / height)) for width, height in params.aspects
    )
    return [(frames, height, width) for frames in params.frames for height, width in sizes]


def choose(buckets: Sequence[Bucket], extent: Extent) -> Bucket:
    """The bucket with most frames that the item fills, then nearest in aspect, then largest. Nothing is enlarged.

    Raises media.Unusable: too_short (fewer frames than any bucket) or too_small (fewer pixels).
    """
    long_enough = [bucket for bucket in buckets if bucket[0] <= extent.frames]
    if not long_enough:
        shortest = min(frames for frames, _, _ in buckets)
        message = f"{extent.frames} frame(s), the shortest bucket has {shortest}"
        raise media.Unusable("too_short", f"{message}; add a bucket of fewer frames (4n + 1)")
    fitting = [bucket for bucket in long_enough if bucket[1] <= extent.height and bucket[2] <= extent.width]
    if not fitting:
        _, height, width = min(long_enough, key=lambda bucket: bucket[1] * bucket[2])
        message = f"{extent.width} x {extent.height} pixels, the smallest bucket is {width} x {height}"
        raise media.Unusable("too_small", f"{message}; add a smaller bucket")
    return min(fitting, key=lambda bucket: (-bucket[0], _stretch(bucket, extent), -bucket[1] * bucket[2]))


def of_medium(buckets: Sequence[Bucket], medium: str) -> list[Bucket]:
    """The buckets a medium may go to: of one frame for images, of more for clips, or any for clips where none has more.

    Raises media.Unusable for an image where no bucket has one frame.
    """
    found = [bucket for bucket in buckets if (bucket[0] == 1) == (medium == "image")]
    if not found and medium == "image":
        raise media.Unusable("no_bucket", "an image, and no bucket has 1 frame; add one")
    return found or list(buckets)


def crop(bucket: Bucket, extent: Extent, place: CropParams, item: str) -> Crop:
    """The largest part of the item with the bucket's aspect, to the nearest pixel.

    In the centre, or where a digest of (seed, item) says: all media of an item at the same place of what can be moved.
    """
    _, height, width = bucket
    scale = min(extent.width / width, extent.height / height)
    across, down = round(width * scale), round(height * scale)
    left, top = _within(extent.width - across, place, item), _within(extent.height - down, place, item)
    return left, top, left + across, top + down


def _within(room: int, place: CropParams, item: str) -> int:
    if place.place == "centre" or not room:
        return room // 2
    return int(digests.of_json([place.seed, item]), 16) * (room + 1) >> 128


def _side(params: GridParams, ratio: float) -> int:
    return params.step * max(1, math.floor(math.sqrt(params.area * ratio) / params.step + 0.5))


def _stretch(bucket: Bucket, extent: Extent) -> float:
    """How far the aspects are apart: |log| of their ratio, 0 if equal."""
    _, height, width = bucket
    return round(abs(math.log(width * extent.height / (height * extent.width))), 9)
