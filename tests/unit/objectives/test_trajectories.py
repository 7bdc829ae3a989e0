import pytest
import torch

from frostline import exact, path, randomness
from frostline.errors import WrongUse
from frostline.objectives import trajectories

D = 128
GAUSSIAN = exact.Gaussian(mean=1.5, std=0.5)
NOISED = randomness.normal((3, D), "noised").double()
SIGMA, END = (torch.tensor(v, dtype=torch.float64) for v in ([1.0, 0.9, 0.5], [0.0, 0.6, 0.4]))
ENDED = GAUSSIAN.flow(NOISED, SIGMA, END)


def test_the_exact_flow_map_has_no_loss_and_its_jump_ends_on_the_trajectory():
    assert trajectories.losses(GAUSSIAN.mean_velocity, NOISED, SIGMA, ENDED, END).max() < 1e-12
    mean = trajectories.mean_velocity(NOISED, SIGMA, ENDED, END)
    torch.testing.assert_close(path.moved(NOISED, mean, SIGMA, END), ENDED)


def test_the_velocity_at_the_start_is_another():
    def straight(noised, sigma, _end):
        return GAUSSIAN.velocity(noised, sigma)

    assert trajectories.losses(straight, NOISED, SIGMA, ENDED, END).min() > 1e-4


@pytest.mark.parametrize("end", [SIGMA, SIGMA + 0.1])
def test_points_that_are_no_way_down_are_refused(end):
    with pytest.raises(WrongUse, match="down to a lower one"):
        trajectories.mean_velocity(NOISED, SIGMA, ENDED, end)
