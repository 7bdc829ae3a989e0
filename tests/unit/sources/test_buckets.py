"""Which bucket, and which part: properties, and the few choices that can be written down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline import media, records
from frostline.params.sources import CropParams, GridParams
from frostline.sources import buckets

CENTRE = CropParams(place="centre", seed=0, flip=False)
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
    assert buckets.choose(BUCKETS, extent(*item)) == chosen


@pytest.mark.parametrize(
    ("item", "reason", "message"),
    [
        ((4, 500, 500), "too_short", r"4 frame\(s\), the shortest bucket has 5"),
        ((17, 31, 500), "too_small", "500 x 31 pixels, the smallest bucket is 32 x 32"),
    ],
)
def test_what_fills_no_bucket_is_refused_with_the_remedy(item: tuple[int, int, int], reason: str, message: str):
    with pytest.raises(media.Unusable, match=message + ".*; add") as caught:
        buckets.choose(BUCKETS, extent(*item))
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
    assert buckets.crop(bucket, extent(1, *size), CENTRE, "a") == crop


sides = st.integers(32, 5000)


@given(sides, sides, sides, sides)
def test_a_crop_lies_inside_is_centred_and_has_the_aspect(height: int, width: int, tall: int, wide: int):
    bucket = (1, min(tall, height), min(wide, width))
    left, top, right, bottom = buckets.crop(bucket, extent(1, height, width), CENTRE, "a")
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert (right - left, bottom - top) >= (bucket[2], bucket[1])  # nothing is enlarged
    assert abs((left + right) - width) <= 1
    assert abs((top + bottom) - height) <= 1
    assert right - left == width or bottom - top == height
    assert abs((right - left) * bucket[1] - (bottom - top) * bucket[2]) <= (bucket[1] + bucket[2]) / 2 + 1e-6


def random(seed: int) -> CropParams:
    return CropParams(place="random", seed=seed, flip=False)


@given(sides, sides, st.integers(0, 9), st.sampled_from(["", "a", "b/c.png"]))
def test_a_random_crop_has_the_same_size_lies_inside_and_stays(height: int, width: int, seed: int, item: str):
    bucket, whole = (1, 32, 32), extent(1, height, width)
    left, top, right, bottom = buckets.crop(bucket, whole, random(seed), item)
    a, b, c, d = buckets.crop(bucket, whole, CENTRE, item)
    assert (right - left, bottom - top) == (c - a, d - b)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert buckets.crop(bucket, whole, random(seed), item) == (left, top, right, bottom)


def test_random_crops_are_everywhere():
    lefts = [buckets.crop((1, 32, 32), extent(1, 32, 42), random(0), str(n))[0] for n in range(550)]
    counts = [lefts.count(left) for left in range(11)]
    assert sum(counts) == 550
    assert min(counts) > 20  # 50 on average
    assert lefts != [buckets.crop((1, 32, 32), extent(1, 32, 42), random(1), str(n))[0] for n in range(550)]


def grid(**changes: object) -> GridParams:
    values = {"area": 64 * 64, "step": 16, "aspects": [[1, 1], [16, 9], [9, 16]], "frames": [1, 5]}
    return records.parse(GridParams, values | changes, origin="test")


def test_a_grid_has_sides_of_about_the_area():
    square, wide, tall = (64, 64), (48, 80), (80, 48)  # sqrt(4096 * 9 / 16) = 48, sqrt(4096 * 16 / 9) = 85.3
    assert buckets.all_of(grid()) == [(frames, *size) for frames in (1, 5) for size in (square, wide, tall)]
    assert buckets.all_of(grid(aspects=[[4, 3], [100, 76]], frames=[1])) == [(1, 48, 80)]  # each once
    assert buckets.all_of(grid(area=100, aspects=[[9, 1]], frames=[1])) == [(1, 16, 32)]  # a side is one step at least
    assert buckets.all_of(BUCKETS) == list(BUCKETS)


def test_media_go_to_buckets_of_their_kind():
    both = [(1, 32, 32), (5, 32, 32)]
    assert buckets.of_medium(both, "image") == [(1, 32, 32)]
    assert buckets.of_medium(both, "clip") == buckets.of_medium(both, "frames") == [(5, 32, 32)]
    assert buckets.of_medium(both[:1], "clip") == both[:1]  # where no bucket has more, a clip gives single frames
    with pytest.raises(media.Unusable) as caught:
        buckets.of_medium(both[1:], "image")
    assert caught.value.reason == "no_bucket"
