import pytest
import torch

from frostline import experts, schedule
from frostline.errors import WrongUse

NOISED = torch.zeros(4, 2, 1, 2, 2)


def expert(value, asked):
    def velocity(noised, sigma):
        asked.append(value)
        return torch.full_like(noised, value)

    return velocity


def served(sigmas, boundary=0.875):
    asked = []
    sigma = torch.tensor(sigmas, dtype=torch.float64)
    noised = torch.zeros(len(sigmas), 2, 1, 2, 2)
    found = experts.routed(expert(1.0, asked), expert(2.0, asked), boundary)(noised, sigma)
    return found[:, 0, 0, 0, 0].tolist(), asked


def test_each_row_is_served_by_its_sigma_and_the_boundary_is_the_high_noise_expert_s():
    assert served([1.0, 0.9, 0.875, 0.8749, 0.0])[0] == [1.0, 1.0, 1.0, 2.0, 2.0]


def test_an_expert_without_rows_is_not_asked():
    assert served([1.0, 0.9])[1] == [1.0]
    assert served([0.5, 0.1])[1] == [2.0]


@pytest.mark.parametrize("boundary", [0.875, 0.900])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_timestep_exactly_at_the_boundary_is_high_in_every_precision(boundary, dtype):
    told = (torch.tensor([1000 * boundary], dtype=torch.float64) / 1000).to(dtype)
    assert bool(experts.serves_high(told, boundary).all())


@pytest.mark.parametrize(("shift", "high"), [(1.0, 2), (5.0, 4), (12.0, 6)])
def test_how_many_steps_are_high_depends_on_the_shift(shift, high):
    """A boundary by the number of a step would be right at one shift only."""
    assert int(experts.serves_high(schedule.grid(8, shift)[:-1], 0.875).sum()) == high


@pytest.mark.parametrize("boundary", [0.0, 1.0, 875.0])
def test_boundaries_that_are_no_sigma_are_refused(boundary):
    with pytest.raises(WrongUse, match="between 0 and 1"):
        experts.serves_high(torch.tensor([0.5]), boundary)
