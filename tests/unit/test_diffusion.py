import dataclasses
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from frostline import contract, diffusion, engine, path, randomness, transformer
from frostline.contract import Diffusion
from frostline.dataset import Batch
from frostline.errors import WrongUse
from frostline.objectives import denoising
from tests import tiny

STABLE = Diffusion(betas="scaled_linear", beta_start=0.00085, beta_end=0.012, zero_terminal_snr=False)
LINEAR = Diffusion(betas="linear", beta_start=0.0001, beta_end=0.02, zero_terminal_snr=False)
ZERO = STABLE.model_copy(update={"zero_terminal_snr": True})
CLEAN, NOISE = (
    randomness.normal((5, 4, 2, 3, 3), "clean").double(),
    randomness.normal((5, 4, 2, 3, 3), "noise").double(),
)
SIGMA = torch.tensor([0.01, 0.3, 0.6, 0.95, 0.999], dtype=torch.float64)


def stock(schedule):
    """The same schedule of diffusers."""
    return DDPMScheduler(
        num_train_timesteps=schedule.steps,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.betas,
        rescale_betas_zero_snr=schedule.zero_terminal_snr,
    )


@pytest.mark.parametrize("schedule", [STABLE, LINEAR, ZERO], ids=["stable", "linear", "zero"])
def test_sigmas_are_those_of_the_stock_schedule(schedule):
    kept = stock(schedule).alphas_cumprod.double().sqrt()
    added = (1 - kept**2).sqrt()
    assert torch.allclose(diffusion.sigmas(schedule), added / (kept + added), atol=1e-4)
    assert (diffusion.sigmas(schedule)[-1] == 1.0) == schedule.zero_terminal_snr


@pytest.mark.parametrize("schedule", [STABLE, LINEAR, ZERO], ids=["stable", "linear", "zero"])
def test_whole_timesteps_come_back(schedule):
    places = torch.arange(schedule.steps, dtype=torch.float64)
    assert torch.allclose(diffusion.timestep(diffusion.sigmas(schedule), schedule), places, atol=1e-6)
    between = (diffusion.sigmas(schedule)[:-1] + diffusion.sigmas(schedule)[1:]) / 2
    assert torch.allclose(diffusion.timestep(between, schedule), places[:-1] + 0.5, atol=1e-6)


def test_before_and_after_the_schedule_are_its_ends():
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert diffusion.timestep(ends, STABLE).tolist() == [0.0, 999.0]


def test_the_network_sees_what_the_stock_scheduler_gives_it():
    places: Any = torch.tensor([0, 10, 500, 900, 999])  # diffusers asks for a type that no tensor has
    sigma = diffusion.sigmas(LINEAR)[places]
    expected = stock(LINEAR).add_noise(CLEAN, NOISE, places)
    assert torch.allclose(diffusion.diffused(path.noised(CLEAN, NOISE, sigma), sigma), expected, atol=1e-3)
    target = diffusion.target(CLEAN, NOISE, sigma, "v_prediction")
    assert torch.allclose(target, stock(LINEAR).get_velocity(CLEAN, NOISE, places), atol=1e-3)


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_the_truth_in_either_form_is_the_velocity(prediction):
    noised = path.noised(CLEAN, NOISE, SIGMA)
    truth = diffusion.target(CLEAN, NOISE, SIGMA, prediction)
    assert torch.allclose(diffusion.velocity(noised, truth, SIGMA, prediction), NOISE - CLEAN, atol=1e-9)


def test_v_says_at_pure_noise_what_epsilon_cannot():
    sigma = torch.ones(5, dtype=torch.float64)
    truth = diffusion.target(CLEAN, NOISE, sigma, "v_prediction")
    assert torch.allclose(diffusion.velocity(NOISE, truth, sigma, "v_prediction"), NOISE - CLEAN)
    with pytest.raises(WrongUse, match="epsilon at sigma = 1"):
        diffusion.velocity(NOISE, NOISE, sigma, "epsilon")


def process(prediction, schedule):
    return contract.Process(shift=1.0, draws="uniform", patch_size=(1, 1, 1), prediction=prediction, diffusion=schedule)


@pytest.mark.parametrize(
    ("prediction", "schedule", "says"),
    [
        ("velocity", ZERO, "do not belong"),
        ("v_prediction", None, "do not belong"),
        ("epsilon", ZERO, "use v_prediction"),
    ],
)
def test_a_contract_that_cannot_be_is_refused(prediction, schedule, says):
    with pytest.raises(ValueError, match=says):
        process(prediction, schedule)


INSIDE = SIGMA.clamp(max=float(diffusion.sigmas(STABLE)[-1]))  # a schedule that does not end at pure noise


class Knowing(torch.nn.Module):
    """A network that knows the clean latents and the noise, and remembers its timesteps."""

    def __init__(self, sigma, prediction):
        super().__init__()
        self.sigma, self.prediction = sigma, prediction

    def forward(self, given, timestep, _text, return_dict):
        self.given, self.timestep = given, timestep
        return (diffusion.target(CLEAN, NOISE, self.sigma, self.prediction),)


@pytest.mark.parametrize(
    ("prediction", "schedule", "sigma"), [("v_prediction", ZERO, SIGMA), ("epsilon", STABLE, INSIDE)]
)
def test_a_transformer_of_a_schedule_is_a_velocity_to_all_else(prediction, schedule, sigma):
    network = Knowing(sigma, prediction)
    velocity = transformer.velocity_fn(network, torch.zeros(5, 6, 8), process(prediction, schedule))
    noised = path.noised(CLEAN, NOISE, sigma)
    assert torch.allclose(velocity(noised, sigma), path.velocity(CLEAN, NOISE), atol=1e-9)
    assert torch.allclose(network.given, diffusion.diffused(noised, sigma))
    assert torch.equal(network.timestep, diffusion.timestep(sigma, schedule).float())


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_beyond_the_end_of_a_schedule_nobody_is_asked_and_the_noise_stays(prediction):
    end = float(diffusion.sigmas(STABLE)[-1])
    sigma = torch.tensor([0.3, end, 0.95, 0.999, 1.0], dtype=torch.float64)
    network = Knowing(sigma.clamp(max=end), prediction)
    velocity = transformer.velocity_fn(network, torch.zeros(5, 6, 8), process(prediction, STABLE))
    noised = path.noised(CLEAN, NOISE, sigma)
    found = velocity(noised, sigma)
    assert torch.allclose(found[:2], path.velocity(CLEAN, NOISE)[:2], atol=1e-9)
    clean = path.clean(noised, found, sigma)[2:]
    assert clean.abs().max() < 1e-12
    assert network.timestep.tolist()[1:] == [999.0] * 4
    alone = torch.full((5,), 1.0, dtype=torch.float64)
    moved = path.moved(NOISE, velocity(NOISE, alone), alone, torch.full((5,), end, dtype=torch.float64))
    assert torch.allclose(moved, end * NOISE)  # what a stock sampler begins with, but for the length of 1.066


def test_draws_end_where_the_schedule_does():
    sigma = torch.tensor([0.0, 0.5, 0.95, 1.0], dtype=torch.float64)
    end = float(diffusion.sigmas(STABLE)[-1])
    assert diffusion.within(sigma, process("epsilon", STABLE)).tolist() == [0.0, 0.5, end, end]
    assert torch.equal(diffusion.within(sigma, process("v_prediction", ZERO)), sigma)
    assert diffusion.within(sigma, tiny.process()) is sigma


def test_what_a_network_sees_is_a_point_of_the_path_again():
    noised = path.noised(CLEAN, NOISE, SIGMA)
    assert torch.allclose(diffusion.noised(diffusion.diffused(noised, SIGMA), SIGMA), noised, atol=1e-12)


@pytest.mark.parametrize(("prediction", "schedule"), [("v_prediction", ZERO), ("epsilon", STABLE)])
def test_who_knows_the_truth_has_no_loss(prediction, schedule):
    batch = tiny_batch()
    losses = denoising.objective(process(prediction, schedule))(Knowing(SIGMA, prediction), batch, NOISE, SIGMA)
    assert losses.abs().max() < 1e-9
    wrong = denoising.objective(process(prediction, schedule))(Knowing(SIGMA, prediction), batch, -NOISE, SIGMA)
    assert wrong.min() > 0.01 if prediction == "epsilon" else wrong.max() > 0.01


def tiny_batch():
    return Batch(rows=tuple(range(5)), clean=CLEAN, text=torch.zeros(5, 6, 8), dropped=torch.zeros(5, dtype=torch.bool))


def test_flow_matching_has_no_schedule_to_denoise_on():
    with pytest.raises(WrongUse, match="no diffusion schedule"):
        denoising.objective(contract.Process(shift=1.0, draws="uniform", patch_size=(1, 1, 1)))


def test_a_network_learns_v(tmp_path):
    job = tiny.job(tmp_path / "work", tiny.data(tmp_path), steps=40, caption_dropout=0.0)
    learned = process("v_prediction", ZERO)
    meaning = job.contract.model_copy(update={"process": learned})
    outcome = engine.run(dataclasses.replace(job, objective=denoising.objective(learned), contract=meaning))
    curve = [point["loss"] for point in outcome.progress.curve]
    assert sum(curve[-10:]) < 0.9 * sum(curve[:10])
