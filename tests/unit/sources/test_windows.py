"""Scenes, the rate, windows: which source frames a row shows."""

import bisect
import fractions
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline import records
from frostline.params.sources import ClipParams
from frostline.sources import windows
from tests import neutral


def settings(**changes: Any) -> ClipParams:
    return records.parse(ClipParams, neutral.CLIPS | changes, origin="test")


def shown(pts: list[int], time_base: tuple[int, int], fps: float | None) -> list[int]:
    return windows.timeline((0, len(pts)), pts, time_base, fps).tolist()


def test_scenes_tile_a_clip():
    assert windows.scenes(10, ()) == [(0, 10)]
    assert windows.scenes(10, (3, 7)) == [(0, 3), (3, 7), (7, 10)]


def test_the_same_rate_is_every_frame():
    assert shown(list(range(30)), (1, 16), 16.0) == list(range(30))
    assert shown([512 * n for n in range(30)], (1, 15360), 30.0) == list(range(30))
    assert shown([1001 * n for n in range(30)], (1, 30000), 29.97) == list(range(30))


def test_without_a_rate_frames_are_taken_as_they_are():
    assert shown([0, 1, 50], (1, 10), None) == [0, 1, 2]
    assert shown([0, 1, 50], (0, 1), 16.0) == [0, 1, 2]
    assert windows.timeline((2, 5), [], (0, 1), 16.0).tolist() == [2, 3, 4]


def test_rates_by_hand():
    assert shown([0, 1, 2, 3], (1, 8), 16.0) == [0, 0, 1, 1, 2, 2, 3]  # no frame later than the last one starts
    assert shown(list(range(8)), (1, 32), 16.0) == [0, 2, 4, 6]
    assert shown([0, 1, 2, 10, 11], (1, 10), 10.0) == [0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 4]  # a frame held
    assert shown([100, 133, 167, 200], (1, 1000), 30.0) == [0, 1, 2, 3]  # times rounded to milliseconds


def test_rounded_times_are_forgiven_but_not_where_a_tick_is_a_frame():
    assert shown([0, 7, 13, 20], (1, 100), 15.0) == [0, 1, 2, 3]  # a GIF of 15 frames a second
    assert shown([0, 17, 33, 50], (1, 1000), 60.0) == [0, 1, 2, 3]
    assert shown(list(range(8)), (1, 30), 20.0) == [0, 1, 3, 4, 6]  # 1.5 is not yet 2, nor 4.5 yet 5


def test_a_scene_starts_its_own_clock():
    pts = [0, 1, 2, 4, 5, 6, 7]
    assert windows.timeline((3, 7), pts, (1, 2), 1.0).tolist() == [3, 5]


@given(st.lists(st.integers(1, 90), max_size=40), st.sampled_from([8.0, 15.0, 16.0, 23.976, 24.0, 29.97, 60.0]))
def test_the_rule_in_exact_fractions(gaps: list[int], fps: float):
    pts = np.cumsum([7, *gaps]).tolist()
    rate = fractions.Fraction(fps).limit_denominator(1001)
    late = min(fractions.Fraction(1, 2), 9 / rate)
    found = shown(pts, (1, 90), fps)
    for k, frame in enumerate(found):
        due = pts[0] + k / (rate / 90)  # in ticks
        assert frame == bisect.bisect_right(pts, due + late) - 1
    assert pts[0] + (len(found) - 1) / (rate / 90) <= pts[-1] + late < pts[0] + len(found) / (rate / 90)
    assert found == sorted(found)


def test_windows_by_hand():
    sliding = settings(use_sliding_window=True, window_stride=8)
    assert windows.choose(40, 17, sliding) == [0, 8, 16]
    assert windows.choose(41, 17, sliding) == [0, 8, 16, 24]
    assert windows.choose(17, 17, sliding) == [0]
    assert windows.choose(40, 17, settings()) == [0]
    assert windows.choose(40, 17, settings(window_choice="middle")) == [11]
    uniform = settings(window_choice="uniform", windows_per_scene=3)
    assert windows.choose(40, 17, uniform) == [0, 12, 23]
    assert windows.choose(17, 17, uniform) == [0]
    assert windows.choose(18, 17, uniform) == [0, 1]
    assert windows.choose(40, 17, settings(window_choice="uniform")) == [0]


@given(st.integers(0, 50), st.integers(1, 30), st.integers(1, 40))
def test_sliding_windows_fit_and_no_more_would(rest: int, frames: int, stride: int):
    available = frames + rest
    starts = windows.choose(available, frames, settings(use_sliding_window=True, window_stride=stride))
    assert starts == [stride * index for index in range(len(starts))]
    assert starts[-1] + frames <= available < starts[-1] + stride + frames


@given(st.integers(0, 50), st.integers(1, 30), st.integers(2, 9))
def test_uniform_windows_go_from_end_to_end(rest: int, frames: int, number: int):
    starts = windows.choose(frames + rest, frames, settings(window_choice="uniform", windows_per_scene=number))
    assert (starts[0], starts[-1]) == (0, rest)
    assert len(starts) == min(number, rest + 1) or rest + 1 < 2 * number
    gaps = np.diff(starts)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("choice", ["first", "middle", "uniform"])
def test_a_window_never_leaves_the_scene(choice: str):
    for available in range(5, 30):
        for start in windows.choose(available, 5, settings(window_choice=choice, windows_per_scene=4)):
            assert 0 <= start <= available - 5
