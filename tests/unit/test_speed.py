import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from frostline import speed
from frostline.dataset import Batch
from tests import tiny


def batch(rows, frames=2):
    clean, text = torch.zeros(rows, 4, frames, 2, 2), torch.zeros(rows, 6, 8)
    return Batch(rows=tuple(range(rows)), clean=clean, text=text, dropped=torch.zeros(rows, dtype=torch.bool))


def test_flops_are_those_that_torch_counts():
    network, given = tiny.network(), batch(3)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(given.clean, torch.ones(3), given.text)
    expected = 3 * speed.forward_flops(network.config, 8, 6)
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-6)


def test_training_takes_three_times_the_forward_pass():
    """Less the little that would go back to the timesteps, which nobody asks for."""
    network, given = tiny.network(), batch(3)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(given.clean.requires_grad_(), torch.ones(3), given.text.requires_grad_())[0].sum().backward()
    assert counter.get_total_flops() == pytest.approx(9 * speed.forward_flops(network.config, 8, 6), rel=0.04)


def test_rates_are_those_of_all_processes_since_the_last_look():
    now = [0.0]
    meter = speed.Meter(tiny.network().config, world=2, device=torch.device("cpu"), clock=lambda: now[0])
    meter.count(batch(3))
    now[0] = 2.0
    assert meter.look() == {"samples/s": "3", "tokens/s": "24"}
    meter.count(batch(1, frames=1))
    now[0] = 3.0
    assert meter.look() == {"samples/s": "2", "tokens/s": "8"}


def test_a_gpu_s_share_of_its_peak_is_told(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    meter = speed.Meter(tiny.network().config, world=1, device=torch.device("cuda"), clock=lambda: now[0])
    meter.count(batch(3))
    now[0] = 3 * 3 * speed.forward_flops(tiny.network().config, 8, 6) / (0.5 * 989e12)
    assert meter.look()["MFU"] == "50.0%"


def test_nothing_goes_back_to_frozen_weights(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    now = [0.0]
    cuda = torch.device("cuda")
    meter = speed.Meter(tiny.network().config, world=1, device=cuda, frozen=True, clock=lambda: now[0])
    meter.count(batch(30))
    now[0] = 2 * 30 * speed.forward_flops(tiny.network().config, 8, 6) / (0.5 * 989e12)
    assert meter.look()["MFU"] == "50.0%"


def test_a_look_is_due_after_a_while_however_long_a_step_takes():
    now = [0.0]
    meter = speed.Meter(tiny.network().config, world=1, device=torch.device("cpu"), clock=lambda: now[0])
    assert not meter.due()
    now[0] = 2.0
    assert meter.due()
    meter.look()
    assert not meter.due()
