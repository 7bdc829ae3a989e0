"""The recipes of benchmarks/distillation.py in short: what a few steps of each objective make, in numbers that stay."""

import pytest
import torch

from benchmarks.parts import exact_world, few_steps

ROWS, SHARE, ALLOWED = 500, 0.05, 0.01
GOLDEN = {  # sliced Wasserstein distance at 4 steps, one thread
    "velocity_matching": 0.4833,
    "trajectory_matching": 0.4060,
    "flow_map": 0.4182,
    "consistency": 0.5707,
    "distribution_matching": 0.5796,
    "consistency_and_distribution": 0.5839,
}


@pytest.fixture(scope="module")
def reference():
    return exact_world.made(exact_world.noise(ROWS, "reference"), steps=50)


@pytest.mark.parametrize("name", sorted(few_steps.RECIPES))
def test_a_short_training_makes_what_it_made(name, reference):
    recipe, noise = few_steps.RECIPES[name], exact_world.noise(ROWS, "student", 0)
    made = few_steps.make(recipe, 0, SHARE)
    distance = exact_world.distance(few_steps.drawn(made.network, recipe.sampler, 4, noise, 0), reference)
    assert distance == pytest.approx(GOLDEN[name], rel=ALLOWED)


def test_a_training_is_a_function_of_its_seed():
    recipe = few_steps.RECIPES["velocity_matching"]
    one, same, other = (few_steps.make(recipe, seed, 0.002).network.out.weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_distance_is_zero_to_itself_and_that_of_a_shift():
    points = exact_world.noise(2000, "points")
    assert exact_world.distance(points, points.flip(0)) < 1e-5
    moved = points + torch.ones(exact_world.DIMENSIONS)
    assert exact_world.distance(points, moved) == pytest.approx(1.0, abs=0.1)  # of unit length along each axis
