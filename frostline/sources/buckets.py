"""Which bucket (frames, height, width) an item goes to, and which part of it."""

import math
from collections.abc import Sequence

from frostline import media
from frostline.media import Crop, Extent

Bucket = tuple[int, int, int]  # frames, height, width


def choose(buckets: Sequence[Bucket], extent: Extent, locator: str) -> Bucket:
    """The bucket with most frames that the item fills, then nearest in aspect, then largest. Nothing is enlarged.

    Raises media.Unusable: too_short (fewer frames than any bucket) or too_small (fewer pixels).
    """
    long_enough = [bucket for bucket in buckets if bucket[0] <= extent.frames]
    if not long_enough:
        shortest = min(frames for frames, _, _ in buckets)
        message = f"{locator}: {extent.frames} frame(s), the shortest bucket has {shortest}"
        raise media.Unusable("too_short", f"{message}; add a bucket of fewer frames (4n + 1)")
    fitting = [bucket for bucket in long_enough if bucket[1] <= extent.height and bucket[2] <= extent.width]
    if not fitting:
        _, height, width = min(long_enough, key=lambda bucket: bucket[1] * bucket[2])
        message = f"{locator}: {extent.width} x {extent.height} pixels, the smallest bucket is {width} x {height}"
        raise media.Unusable("too_small", f"{message}; add a smaller bucket")
    return min(fitting, key=lambda bucket: (-bucket[0], _stretch(bucket, extent), -bucket[1] * bucket[2]))


def crop(bucket: Bucket, extent: Extent) -> Crop:
    """The largest centred part of the item with the bucket's aspect, to the nearest pixel."""
    _, height, width = bucket
    scale = min(extent.width / width, extent.height / height)
    across, down = round(width * scale), round(height * scale)
    left, top = (extent.width - across) // 2, (extent.height - down) // 2
    return left, top, left + across, top + down


def _stretch(bucket: Bucket, extent: Extent) -> float:
    """How far the aspects are apart: |log| of their ratio, 0 if equal."""
    _, height, width = bucket
    return round(abs(math.log(width * extent.height / (height * extent.width))), 9)
