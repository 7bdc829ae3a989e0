from pathlib import Path

import numpy as np
import pytest

from frostline import digits, judge
from frostline.errors import WrongUse

BASE = Path(__file__).parents[2] / "assets" / "miniature"


@pytest.fixture(scope="module")
def referee() -> judge.Judge:
    return judge.Judge.load(BASE / "judge")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.concatenate([digits.render(int(scan), 0, 1) for scan in digits.members("validation")])


def test_it_names_real_digits(referee: judge.Judge, images: np.ndarray) -> None:
    labels = digits.labels()[digits.members("validation")]
    assert (referee.classify(images) == labels).mean() > 0.98
    assert (referee.classify(255 - images) == labels).mean() < 0.9  # it does look at the picture


def test_features_are_standardised_on_real_digits(referee: judge.Judge, images: np.ndarray) -> None:
    features = referee.features(images)
    assert (features.shape, features.dtype) == ((len(images), judge.FEATURES), np.float32)
    assert np.abs(features.mean(0)).max() < 0.4
    assert np.abs(features.std(0) - 1).max() < 0.4


def test_what_it_says_of_an_image_does_not_hang_on_the_others(referee: judge.Judge, images: np.ndarray) -> None:
    np.testing.assert_allclose(referee.logits(images)[:3], referee.logits(images[:3]), atol=1e-4)


@pytest.mark.parametrize("motion", digits.MOTIONS)
def test_it_sees_which_way_a_clip_drifts(referee: judge.Judge, motion: digits.Motion) -> None:
    clips = np.stack([digits.render(scan, 1, 5, motion) for scan in range(20)])
    assert (referee.directions(clips) == digits.MOTIONS.index(motion)).all()
    assert (referee.directions(clips[:, :1].repeat(5, axis=1)) == judge.STILL).all()
    assert (referee.directions(np.zeros_like(clips)) == judge.STILL).all()


def test_it_reads_what_a_caption_asks_for() -> None:
    assert judge.Judge.expected("a handwritten digit seven moving left") == (7, 0)
    assert judge.Judge.expected("A handwritten digit zero") == (0, None)
    assert judge.Judge.expected("") == (None, None)


def test_it_comes_back_from_disk_unchanged(referee: judge.Judge, images: np.ndarray, tmp_path: Path) -> None:
    referee.save(tmp_path)
    again = judge.Judge.load(tmp_path)
    np.testing.assert_array_equal(again.features(images[:5]), referee.features(images[:5]))
    assert (tmp_path / judge.WEIGHTS).read_bytes() == (BASE / "judge" / judge.WEIGHTS).read_bytes()


def test_wrong_input_is_named(referee: judge.Judge, tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="uint8 images"):
        referee.classify(np.zeros((2, 16, 16, 3), np.uint8))
    with pytest.raises(WrongUse, match=r"judge\.json"):
        judge.Judge.load(tmp_path)
