import pytest
import torch

from frostline import digests, randomness


def test_a_key_gives_its_numbers_and_no_other():
    first = randomness.normal((4,), 0, 3, "noise")
    assert torch.equal(first, randomness.normal((4,), 0, 3, "noise"))
    for other in [(1, 3, "noise"), (0, 4, "noise"), (0, 3, "sigma"), (0, "3", "noise")]:
        assert not torch.equal(first, randomness.normal((4,), *other))


def test_the_global_state_stays_where_it_was():
    before = torch.random.get_rng_state()
    randomness.normal_rows([0, 1], (2, 3), "key")
    randomness.generator("key")
    randomness.uniform("key")
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_row_does_not_depend_on_its_neighbours():
    together = randomness.normal_rows([5, 7], (3,), "key")
    assert torch.equal(together[1], randomness.normal_rows([7], (3,), "key")[0])
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 3), (16, 2, 4, 4)])
def test_a_row_is_the_numbers_of_its_own_key(shape):
    alone = torch.stack([randomness.normal(shape, "key", 3, row) for row in (4, 9)])
    assert torch.equal(randomness.normal_rows([4, 9], shape, "key", 3), alone)


def test_many_keys_are_each_of_them_alone():
    for key in ((), (0, 3, "noise"), ('a "word"', -1)):
        assert randomness.seeds([0, 7, 1 << 40], *key) == [randomness.seed(*key, n) for n in (0, 7, 1 << 40)]
        assert randomness.uniforms([4], *key) == [randomness.uniform(*key, 4)]


def test_seeds_are_those_that_trained_models_were_made_with():
    assert randomness.seed("transformer", 0) == int(digests.of_json(["transformer", 0])[:16], 16) >> 1
    assert randomness.seed(0, 3, "noise", 5) == 219822115529894367


def test_uniform_numbers_fill_the_unit_interval():
    numbers = torch.tensor([randomness.uniform("fill", n) for n in range(2000)])
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.03


def test_normal_numbers_are_normal():
    numbers = randomness.normal((20_000,), "normal")
    assert abs(numbers.mean()) < 0.03
    assert abs(numbers.std() - 1) < 0.03
