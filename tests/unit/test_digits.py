import hashlib

import numpy as np
import pytest

from frostline import digits


def test_splits_have_their_sizes_and_every_digit_in_proportion() -> None:
    for name in digits.SPLITS:
        mine = digits.members(name)
        assert len(mine) == digits.SIZES[name]
        share = np.bincount(digits.labels()[mine], minlength=10) / np.bincount(digits.labels())
        assert np.ptp(share) < 0.02


def test_the_split_never_moves() -> None:
    letters = "".join(digits.split(scan)[0] for scan in range(len(digits.scans())))
    assert hashlib.sha256(letters.encode()).hexdigest()[:16] == "4585b589895f527c"


def test_rendering_is_a_function_of_its_integers() -> None:
    first = digits.render(7, 3, 5, "left")
    assert (first.shape, first.dtype) == ((5, 32, 32, 3), np.uint8)
    assert (first == digits.render(7, 3, 5, "left")).all()
    assert (first != digits.render(7, 4, 5, "left")).any()
    assert (digits.render(7, 3, 1, size=48).shape) == (1, 48, 48, 3)
    assert hashlib.sha256(first.tobytes()).hexdigest()[:16] == "42b3b5a0096a82ed"


@pytest.mark.parametrize(("motion", "step"), [("left", (0, -8)), ("right", (0, 8)), ("up", (-8, 0)), ("down", (8, 0))])
def test_a_clip_drifts_eight_pixels_the_way_it_says(motion: digits.Motion, step: tuple[int, int]) -> None:
    clip = digits.render(11, 0, 9, motion)[..., 0].astype(float)
    mass = clip.sum((1, 2))
    centre = np.stack([(clip.sum(2) @ np.arange(32)) / mass, (clip.sum(1) @ np.arange(32)) / mass], axis=1)
    np.testing.assert_allclose(centre[-1] - centre[0], step, atol=0.3)
    assert mass.min() > 0.97 * mass.max()  # nothing leaves the frame


def test_a_picture_resembles_its_scan() -> None:
    picture = digits.render(0, 0, 1)[0, ..., 0].astype(float)
    scan = digits.scans()[0].astype(float)
    assert abs(picture.sum() / 255 - scan.sum() / 16 * 6.25) < 0.1 * scan.sum() / 16 * 6.25


def test_captions() -> None:
    assert digits.caption(7) == "a handwritten digit seven"
    assert digits.caption(0, "up") == "a handwritten digit zero moving up"
