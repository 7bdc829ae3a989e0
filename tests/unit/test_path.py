import pytest
import torch

from frostline import contract, path
from frostline.errors import WrongUse

SHAPE = (6, 16, 1, 4, 4)


def drawn(dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    clean = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    noise = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    sigma = 0.01 + 0.98 * torch.rand(SHAPE[0], generator=generator, dtype=torch.float64)
    return clean.to(dtype), noise.to(dtype), sigma


def test_ends_of_the_path():
    clean, noise, _ = drawn()
    assert torch.equal(path.noised(clean, noise, torch.zeros(6, dtype=torch.float64)), clean)
    assert torch.equal(path.noised(clean, noise, torch.ones(6, dtype=torch.float64)), noise)


def test_velocity_is_the_derivative_by_sigma():
    clean, noise, sigma = drawn()
    step = 1e-6
    slope = (path.noised(clean, noise, sigma + step) - path.noised(clean, noise, sigma - step)) / (2 * step)
    torch.testing.assert_close(path.velocity(clean, noise), slope, rtol=0, atol=1e-8)


def test_known_numbers():
    clean, noise = torch.full((1, 2), 2.0), torch.full((1, 2), -1.0)
    sigma = torch.tensor([0.25])
    assert path.noised(clean, noise, sigma).tolist() == [[1.25, 1.25]]
    assert path.velocity(clean, noise).tolist() == [[-3.0, -3.0]]
    assert path.score(torch.full((1, 2), 1.25), torch.full((1, 2), -3.0), sigma).tolist() == [[4.0, 4.0]]
    assert path.moved(torch.full((1, 2), 1.25), torch.full((1, 2), -3.0), sigma, torch.tensor([0.0])).tolist() == [
        [2.0, 2.0]
    ]


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_both_ends_come_back(dtype, limit):
    clean, noise, sigma = drawn(dtype)
    noised, velocity = path.noised(clean, noise, sigma), path.velocity(clean, noise)
    torch.testing.assert_close(path.clean(noised, velocity, sigma), clean, rtol=0, atol=limit)
    torch.testing.assert_close(path.noise(noised, velocity, sigma), noise, rtol=0, atol=limit)


def test_every_prediction_becomes_the_velocity_and_back():
    clean, noise, sigma = drawn()
    noised, velocity = path.noised(clean, noise, sigma), path.velocity(clean, noise)
    for again in (
        path.velocity_from_clean(noised, clean, sigma),
        path.velocity_from_noise(noised, noise, sigma),
        path.velocity_from_score(noised, path.score(noised, velocity, sigma), sigma),
    ):
        torch.testing.assert_close(again, velocity, rtol=0, atol=1e-10)


def test_score_is_minus_noise_over_sigma():
    clean, noise, sigma = drawn()
    score = path.score(path.noised(clean, noise, sigma), path.velocity(clean, noise), sigma)
    torch.testing.assert_close(score * -sigma.reshape(-1, 1, 1, 1, 1), noise, rtol=0, atol=1e-10)


def test_moving_stays_on_the_path():
    clean, noise, sigma = drawn()
    end = sigma / 3
    moved = path.moved(path.noised(clean, noise, sigma), path.velocity(clean, noise), sigma, end)
    torch.testing.assert_close(moved, path.noised(clean, noise, end), rtol=0, atol=1e-12)


def test_latents_keep_float32_and_half_precision_is_lifted():
    clean, noise, sigma = drawn(torch.float32)
    assert path.noised(clean, noise, sigma).dtype == torch.float32
    assert path.noised(clean.bfloat16(), noise.bfloat16(), sigma).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64])
def test_coarse_sigmas_are_refused(dtype):
    clean, noise, sigma = drawn()
    with pytest.raises(WrongUse, match="float32 or float64"):
        path.noised(clean, noise, sigma.to(dtype))


def test_a_sigma_for_other_rows_is_refused():
    clean, noise, sigma = drawn()
    with pytest.raises(WrongUse, match="one per row"):
        path.noised(clean, noise, sigma[:4])


def test_whole_timesteps_survive_the_way_through_sigma():
    timesteps = torch.arange(1001)
    assert torch.equal(path.timestep(path.sigma_of(timesteps)).to(torch.float32), timesteps.to(torch.float32))


def test_contract_and_path_mean_the_same_timestep():
    assert contract.Process.model_fields["timestep_scale"].default == path.TIMESTEP_SCALE
