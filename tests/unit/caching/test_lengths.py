import numpy as np
import pytest

from frostline.caching.lengths import Lengths


def test_each_text_has_the_length_it_came_with():
    dice = np.random.default_rng(0)
    keys, tokens = dice.integers(0, 1 << 63, (1000, 2), dtype=np.uint64), dice.integers(1, 512, 1000)
    lengths = Lengths(1000)
    lengths.add(keys[:300], tokens[:300])
    lengths.add(keys[300:], tokens[300:])
    lengths.sort()
    asked = dice.permutation(1000)
    assert lengths.of(keys[asked]).tolist() == tokens[asked].tolist()


def test_texts_whose_digests_begin_alike_are_told_apart():
    keys = np.array([[7, 1], [7, 2], [5, 3], [7, 3]], np.uint64)
    lengths = Lengths(4)
    lengths.add(keys, np.array([1, 2, 3, 4]))
    lengths.sort()
    assert lengths.of(keys).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("key", [[6, 0], [7, 9], [9, 9]])
def test_a_text_that_was_never_counted_is_a_mistake(key):
    lengths = Lengths(1)
    lengths.add(np.array([[7, 1]], np.uint64), np.array([1]))
    lengths.sort()
    with pytest.raises(AssertionError):
        lengths.of(np.array([key], np.uint64))
