import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline import tiling
from frostline.errors import WrongUse
from frostline.tiling import Tiling


@given(
    length=st.integers(1, 200),
    window=st.integers(1, 60),
    margin=st.integers(0, 12),
    stride=st.sampled_from([8, 16]),
)
def test_windows_keep_every_latent_once_and_none_near_a_window_s_edge(length, window, margin, stride):
    tile = (2 * margin + window) * stride
    found = tiling.spans(length * stride, tile, stride=stride, margin=margin)
    kept = [position for span in found for position in range(length)[span.kept]]
    assert kept == list(range(length))
    for span in found:
        assert 0 <= span.start <= span.kept_from < span.kept_to <= span.stop <= length
        assert span.start == 0 or span.kept_from - span.start >= margin
        assert span.stop == length or span.stop - span.kept_to >= margin
        assert range(span.start, span.stop)[span.kept_inside] == range(length)[span.kept]
        assert span.pixels(stride) == slice(span.start * stride, span.stop * stride)
    assert {span.stop - span.start for span in found} == {min(length, found[0].stop)}  # one size, one set of kernels
    assert found[0].stop * stride <= tile or len(found) == 1
    least = -(-max(length - 2 * margin, 1) // window)
    assert len(found) == (1 if tile >= length * stride else least)


def test_windows_are_no_larger_than_their_number_asks_for():
    (first, second) = tiling.spans(720, 640, stride=8, margin=9)
    assert first == (0, 54, 0, 45)
    assert second == (36, 90, 45, 90)


def test_a_side_without_a_tile_or_shorter_than_one_is_whole():
    assert tiling.spans(720, None, stride=8, margin=9) == [(0, 90, 0, 90)]
    assert tiling.spans(720, 720, stride=8, margin=9) == [(0, 90, 0, 90)]
    assert len(tiling.spans(720, 712, stride=8, margin=9)) == 2


@pytest.mark.parametrize("tile", [144, 100, 8, 0, -8, 516])
def test_a_tile_that_is_all_margin_or_cuts_a_latent_is_refused(tile):
    with pytest.raises(WrongUse, match=rf"tile {tile}: must be a multiple of 8 above 144 pixels.*most_pixels of 23104"):
        tiling.spans(720, tile, stride=8, margin=9)


def test_large_frames_are_tiled_and_small_ones_whole():
    def at(height, width):
        return tiling.chosen(height, width, most_pixels=512 * 512, stride=8)

    assert at(512, 512) == at(256, 1024) == tiling.WHOLE
    assert at(520, 512) == at(720, 1280) == Tiling(tile=512)
    assert tiling.chosen(720, 1280, most_pixels=500_000, stride=16) == Tiling(tile=704)


def test_a_key_says_how_frames_were_cut():
    assert [tiling.WHOLE.key(), Tiling(tile=512).key(), Tiling(tile=256).key()] == ["untiled", "512", "256"]
