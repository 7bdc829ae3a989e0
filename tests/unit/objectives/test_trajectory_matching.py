import pytest
import torch

from frostline import exact, path, randomness
from frostline.dataset import Batch
from frostline.errors import WrongUse
from frostline.objectives import trajectory_matching
from tests import tiny

D = 128
GAUSSIAN = exact.Gaussian(mean=1.5, std=0.5)
NOISED = randomness.normal((3, D), "noised").double()
SIGMA, END = (torch.tensor(v, dtype=torch.float64) for v in ([1.0, 0.9, 0.5], [0.0, 0.6, 0.4]))
ENDED = GAUSSIAN.flow(NOISED, SIGMA, END)


def test_the_exact_flow_map_has_no_loss_and_its_jump_ends_on_the_trajectory():
    assert trajectory_matching.losses(GAUSSIAN.mean_velocity, NOISED, SIGMA, ENDED, END).max() < 1e-12
    mean = trajectory_matching.mean_velocity(NOISED, SIGMA, ENDED, END)
    torch.testing.assert_close(path.moved(NOISED, mean, SIGMA, END), ENDED)


def test_the_velocity_at_the_start_is_another():
    def straight(noised, sigma, _end):
        return GAUSSIAN.velocity(noised, sigma)

    assert trajectory_matching.losses(straight, NOISED, SIGMA, ENDED, END).min() > 1e-4


@pytest.mark.parametrize("end", [SIGMA, SIGMA + 0.1])
def test_points_that_are_no_way_down_are_refused(end):
    with pytest.raises(WrongUse, match="down to a lower one"):
        trajectory_matching.mean_velocity(NOISED, SIGMA, ENDED, end)


def batch(points):
    count = len(points)
    return Batch(rows=tuple(range(count)), clean=points, text=torch.zeros(count, 6, 8), dropped=torch.zeros(count) > 0)


def test_each_row_is_asked_where_its_jump_begins_and_told_where_it_ends():
    sigmas = (1.0, 0.75, 0.25, 0.0)
    points = randomness.normal((2, 4, 4, 1, 2, 2), "points")
    told = []

    class Network(torch.nn.Module):
        def forward(self, given, timestep, end, text, return_dict):
            told.append((given, timestep[:, 0].tolist(), end[:, 0].tolist()))
            return (torch.zeros_like(given),)

    times = torch.tensor([[1.0, 0.25], [0.75, 0.0]], dtype=torch.float64)
    process = tiny.process(prediction="mean_velocity")
    objective = trajectory_matching.objective(process, sigmas=sigmas)
    losses = objective(Network(), batch(points), points[:, 0], times)
    [(given, timesteps, ends)] = told
    assert torch.equal(given.transpose(1, 2), torch.stack([points[0, 0], points[1, 1]]))
    assert (timesteps, ends) == ([1000.0, 750.0], [250.0, 0.0])
    wanted = torch.stack([(points[0, 0] - points[0, 2]) / 0.75, (points[1, 1] - points[1, 3]) / 0.75])
    torch.testing.assert_close(losses, wanted.square().flatten(1).mean(1))


def test_rows_that_are_no_trajectories_are_refused():
    objective = trajectory_matching.objective(tiny.process(prediction="mean_velocity"), sigmas=(1.0, 0.5, 0.0))
    for shape in ((2, 4, 1, 2, 2), (2, 5, 4, 1, 2, 2)):
        with pytest.raises(WrongUse, match="no trajectories of 3 points"):
            objective(torch.nn.Identity(), batch(torch.zeros(shape)), torch.zeros(2), torch.ones(2, 2).double())
