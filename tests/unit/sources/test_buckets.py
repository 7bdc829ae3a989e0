"""Which bucket, and which part: properties, and the few choices that can be written down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline import media
from frostline.sources import buckets

BUCKETS = ((5, 32, 32), (5, 64, 64), (5, 32, 64), (9, 32, 32), (17, 64, 64))


def extent(frames: int, height: int, width: int) -> media.Extent:
    return media.Extent(width=width, height=height, frames=frames, fps=16.0)


@pytest.mark.parametrize(
    ("item", "chosen"),
    [
        ((5, 32, 32), (5, 32, 32)),
        ((8, 500, 500), (5, 64, 64)),  # the largest of the nearest aspect
        ((8, 40, 90), (5, 32, 64)),
        ((16, 500, 500), (9, 32, 32)),  # frames before pixels
        ((17, 64, 64), (17, 64, 64)),
        ((99, 63, 64), (9, 32, 32)),  # too small for the longest
    ],
)
def test_choice(item: tuple[int, int, int], chosen: buckets.Bucket):
    assert buckets.choose(BUCKETS, extent(*item), "a.mp4") == chosen


@pytest.mark.parametrize(
    ("item", "reason", "message"),
    [
        ((4, 500, 500), "too_short", r"a.mp4: 4 frame\(s\), the shortest bucket has 5"),
        ((17, 31, 500), "too_small", "a.mp4: 500 x 31 pixels, the smallest bucket is 32 x 32"),
    ],
)
def test_what_fills_no_bucket_is_refused_with_the_remedy(item: tuple[int, int, int], reason: str, message: str):
    with pytest.raises(media.Unusable, match=message + ".*; add") as caught:
        buckets.choose(BUCKETS, extent(*item), "a.mp4")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("bucket", "size", "crop"),
    [
        ((1, 32, 32), (32, 32), (0, 0, 32, 32)),
        ((1, 32, 32), (100, 60), (0, 20, 60, 80)),
        ((1, 32, 32), (60, 101), (20, 0, 80, 60)),
        ((1, 32, 64), (100, 100), (0, 25, 100, 75)),
    ],
)
def test_crop(bucket: buckets.Bucket, size: tuple[int, int], crop: media.Crop):
    assert buckets.crop(bucket, extent(1, *size)) == crop


sides = st.integers(32, 5000)


@given(sides, sides, sides, sides)
def test_a_crop_lies_inside_is_centred_and_has_the_aspect(height: int, width: int, tall: int, wide: int):
    bucket = (1, min(tall, height), min(wide, width))
    left, top, right, bottom = buckets.crop(bucket, extent(1, height, width))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert (right - left, bottom - top) >= (bucket[2], bucket[1])  # nothing is enlarged
    assert abs((left + right) - width) <= 1
    assert abs((top + bottom) - height) <= 1
    assert right - left == width or bottom - top == height
    assert abs((right - left) * bucket[1] - (bottom - top) * bucket[2]) <= (bucket[1] + bucket[2]) / 2 + 1e-6
