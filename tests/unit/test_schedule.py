import math

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_flow_map_euler_discrete import FlowMapEulerDiscreteScheduler

from frostline import path, sampling, schedule
from frostline.errors import WrongUse

SHIFTS = [0.2, 1.0, 3.0, 5.0, 8.0, 12.0]


@pytest.mark.parametrize("k", SHIFTS)
def test_shift_and_unshift_undo_each_other(k):
    u = torch.linspace(0, 1, 1001, dtype=torch.float64)
    sigma = schedule.shift(u, k)
    assert (sigma[0], sigma[-1]) == (0.0, 1.0)
    assert bool((sigma.diff() > 0).all())
    torch.testing.assert_close(schedule.unshift(sigma, k), u, rtol=0, atol=1e-14)


def test_shifting_twice_multiplies_the_shifts():
    u = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(schedule.shift(schedule.shift(u, 2.0), 3.0), schedule.shift(u, 6.0), rtol=0, atol=1e-14)


def test_grid_of_the_few_step_student():
    timesteps = path.timestep(schedule.grid(4, 5.0))
    torch.testing.assert_close(
        timesteps, torch.tensor([1000, 937.5, 2500 / 3, 625, 0], dtype=torch.float64), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("k", SHIFTS)
def test_grid_is_that_of_diffusers_flow_map_scheduler(k):
    stock = FlowMapEulerDiscreteScheduler(shift=k)
    stock.set_timesteps(8)
    torch.testing.assert_close(schedule.grid(8, k), stock.sigmas, rtol=0, atol=1e-15)


@pytest.mark.parametrize("k", SHIFTS)
def test_unipc_grid_is_that_of_the_stock_scheduler(k):
    stock = sampling.unipc_scheduler(solver_order=2, shift=k)
    for steps in (*range(1, 101), 125, 200, 250, 500, 999, 1000):
        stock.set_timesteps(steps)
        ours = schedule.unipc_grid(steps, k)
        assert torch.equal(ours.to(torch.float32), stock.sigmas)
        told = path.timestep(schedule.floored(ours[:-1]))
        assert torch.equal(told.to(torch.float32), stock.timesteps.to(torch.float32))


def test_unipc_timesteps_of_four_steps_at_shift_five():
    grid = schedule.unipc_grid(4, 5.0)
    assert path.timestep(schedule.floored(grid[:-1])).round(decimals=6).tolist() == [999, 937, 833, 625]
    assert [round(s, 4) for s in grid.tolist()] == [1.0, 0.9376, 0.8336, 0.6259, 0.0]


def test_every_sigma_is_float64():
    generator = torch.Generator().manual_seed(0)
    made = [
        schedule.grid(3, 5.0),
        schedule.unipc_grid(3, 5.0),
        schedule.floored(schedule.grid(3, 5.0)),
        schedule.draw_uniform(3, 5.0, generator),
        schedule.draw_logit_normal(3, 5.0, generator),
    ]
    assert {sigma.dtype for sigma in made} == {torch.float64}


@pytest.mark.parametrize("k", [1.0, 5.0])
def test_uniform_draws_are_uniform_before_the_shift(k):
    sigma = schedule.draw_uniform(20_000, k, torch.Generator().manual_seed(1))
    shares = schedule.coverage(schedule.unshift(sigma, k), torch.linspace(0, 1, 11, dtype=torch.float64))
    assert float((shares - 0.1).abs().max()) < 0.01


@pytest.mark.parametrize("k", [1.0, 5.0])
def test_logit_normal_draws_have_normal_logits(k):
    sigma = schedule.draw_logit_normal(20_000, k, torch.Generator().manual_seed(1))
    logits = torch.logit(schedule.unshift(sigma, k))
    assert abs(float(logits.mean())) < 0.03
    assert abs(float(logits.std()) - 1.0) < 0.03
    assert abs(float((logits < 1.0).double().mean()) - 0.8413) < 0.01


def test_logit_normal_is_a_function_of_uniform_numbers():
    made = schedule.logit_normal(torch.tensor([0.0, 0.5, 0.975], dtype=torch.float64), mean=0.5, deviation=2.0)
    right = [0.0, 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(-(0.5 + 2 * 1.959963984540054)))]
    np.testing.assert_allclose(made.numpy(), right, atol=1e-12)


def test_same_generator_same_draws():
    draws = [schedule.draw_logit_normal(8, 5.0, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_coverage_counts_each_draw_once():
    draws = torch.tensor([0.0, 0.1, 0.5, 0.6, 1.0, 1.5], dtype=torch.float64)
    shares = schedule.coverage(draws, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    np.testing.assert_allclose(shares.numpy(), [2 / 6, 3 / 6])


@pytest.mark.parametrize(("steps", "bins"), [(1, 1), (4, 4), (10, 10), (20, 10), (33, 10)])
def test_edges_cut_the_whole_range(steps, bins):
    edges = schedule.edges(schedule.grid(steps, 5.0))
    assert edges.shape == (bins + 1,)
    assert (edges[0], edges[-1]) == (0.0, 1.0)
    assert bool((edges.diff() > 0).all())


@pytest.mark.parametrize("k", [0.0, -1.0, float("nan")])
def test_shifts_that_are_none_are_refused(k):
    with pytest.raises(WrongUse, match="shift"):
        schedule.grid(4, k)


def test_no_steps_are_refused():
    with pytest.raises(WrongUse, match="at least 1"):
        schedule.unipc_grid(0, 5.0)
