"""Windows: inside the clip, a stride apart, as many as fit."""

from hypothesis import given
from hypothesis import strategies as st

from frostline.sources import windows


def test_windows_by_hand():
    assert list(windows.starts(40, 17, 8)) == [0, 8, 16]
    assert list(windows.starts(41, 17, 8)) == [0, 8, 16, 24]
    assert list(windows.starts(17, 17, 8)) == [0]
    assert list(windows.starts(40, 17, None)) == [0]


@given(st.integers(0, 50), st.integers(1, 30), st.integers(1, 40))
def test_windows_fit_and_no_more_would(rest: int, frames: int, stride: int):
    available = frames + rest
    starts = list(windows.starts(available, frames, stride))
    assert starts == [stride * index for index in range(len(starts))]
    assert starts[-1] + frames <= available < starts[-1] + stride + frames
