import pydantic
import pytest
import torch

from frostline import continuation, contract, path, randomness, transformer
from frostline.contract import Diffusion
from frostline.dataset import Batch
from frostline.objectives import denoising, flow_matching
from tests import tiny

NOISED, CLEAN = (randomness.normal((2, 4, 3, 2, 2), name) for name in ("noised", "clean"))
SIGMA = torch.tensor([0.25, 0.75], dtype=torch.float64)
TEXT = randomness.normal((2, 6, 8), "text")
SCHEDULE = Diffusion(betas="linear", beta_start=1e-4, beta_end=0.02, zero_terminal_snr=True)
PROCESSES = [tiny.process(), tiny.process(prediction="v_prediction", diffusion=SCHEDULE)]


def continuing(process, frames=1):
    return contract.Process(**process.model_dump() | {"conditioning": "context", "context": frames})


def answer(process, context=None, noised=NOISED):
    with torch.no_grad():
        return transformer.velocity_fn(tiny.network(), TEXT, process, context)(noised, SIGMA)


def test_clips_have_a_context_and_pictures_none():
    process = continuing(tiny.process(), 2)
    found = continuation.of(CLEAN, process)
    assert found is not None
    assert torch.equal(found, CLEAN[:, :, :2])
    assert continuation.of(CLEAN[:, :, :2], process) is None
    assert continuation.of(CLEAN, tiny.process()) is None


@pytest.mark.parametrize("process", PROCESSES, ids=["velocity", "v"])
def test_the_network_sees_the_context_and_does_not_move_it(process):
    first = answer(process, CLEAN[:, :, :1])
    assert not first[:, :, :1].any()
    elsewhere = NOISED.clone()
    elsewhere[:, :, :1] += 1
    assert torch.equal(answer(process, CLEAN[:, :, :1], elsewhere), first)  # what is noised there does not matter
    assert (answer(process, CLEAN[:, :, :1] + 1) - first).abs().max() > 1e-4
    assert (answer(process) - first)[:, :, 1:].abs().max() > 1e-4


def test_tokens_are_told_as_by_the_stock_pipeline_of_ti2v():
    """diffusers' WanImageToVideoPipeline: a mask over latents, every second place of it, times the timestep."""
    mask = torch.ones(1, 1, 3, 8, 6)
    mask[:, :, 0] = 0
    stock = (mask[0][0][:, ::2, ::2] * 700.0).flatten()
    ours = continuation.timesteps(torch.tensor([700.0]), torch.zeros(1), (1, 4, 3, 8, 6), 1, (1, 2, 2))
    assert torch.equal(ours[0], stock)


def test_equal_timesteps_of_all_tokens_are_one_timestep():
    network, told = tiny.network(), transformer.timestep(SIGMA, tiny.process())
    each = continuation.timesteps(told, told, NOISED.shape, 1, tiny.process().patch_size)
    with torch.no_grad():
        one, many = (network(NOISED, times, TEXT, return_dict=False)[0] for times in (told, each))
    torch.testing.assert_close(one, many, rtol=1e-5, atol=1e-6)


class Oracle(torch.nn.Module):
    """Knows the answer but for the context, of which it says anything."""

    def __init__(self, truth, wrong):
        super().__init__()
        self.answer = continuation.held(truth, torch.full_like(truth[:, :, :1], wrong))

    def forward(self, given, timestep, text, return_dict):
        self.given, self.timestep = given, timestep
        return (self.answer,)


@pytest.mark.parametrize("wrong", [0.0, 7.0])
def test_the_loss_leaves_the_context_out(wrong):
    batch = Batch(rows=(0, 1), clean=CLEAN, text=TEXT, dropped=torch.zeros(2, dtype=torch.bool))
    oracle = Oracle(path.velocity(CLEAN, NOISED), wrong)
    losses = flow_matching.objective(continuing(tiny.process()))(oracle, batch, NOISED, SIGMA)
    assert losses.abs().max() < 1e-12
    assert torch.equal(oracle.given[:, :, :1], CLEAN[:, :, :1])
    assert oracle.timestep[:, 0].tolist() == [0.0, 0.0]
    assert oracle.timestep[:, -1].tolist() == [250.0, 750.0]
    process = continuing(PROCESSES[1])
    oracle.answer += 1.0
    far = denoising.objective(process)(oracle, batch, NOISED, SIGMA)
    assert far.min() > 0.01
    assert torch.equal(oracle.given[:, :, :1], CLEAN[:, :, :1])


def test_a_picture_is_learned_as_by_any_model():
    batch = Batch(rows=(0, 1), clean=CLEAN[:, :, :1], text=TEXT, dropped=torch.zeros(2, dtype=torch.bool))
    plain, continued = (
        flow_matching.objective(process)(tiny.network(), batch, NOISED[:, :, :1], SIGMA)
        for process in (tiny.process(), continuing(tiny.process()))
    )
    assert torch.equal(plain, continued)


@pytest.mark.parametrize(
    "change", [{"conditioning": "context"}, {"context": 1}, {"conditioning": "context", "context": 0}]
)
def test_a_context_has_a_length_of_whole_frames(change):
    with pytest.raises(pydantic.ValidationError, match="context"):
        contract.Process(**tiny.process().model_dump() | change)


def test_a_process_without_a_context_says_nothing_of_it():
    assert "context" not in tiny.process().model_dump(mode="json")
    assert contract.digest(continuing(tiny.process())) != contract.digest(tiny.process())
