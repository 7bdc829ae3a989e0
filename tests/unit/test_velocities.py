import subprocess
import sys
from pathlib import Path

import pytest
import torch

from frostline import velocities
from frostline.velocities import Low
from tests import tiny

ROOT = Path(__file__).parents[2]
HIGH, LOW = 0.9, 0.2
NOISED = torch.zeros(2, 4, 1, 2, 2)
TEXT, AWAY = torch.full((2, 6, 8), 3.0), torch.full((2, 6, 8), 1.0)


class Says(torch.nn.Module):
    """A network that says its number times the text it is given, and counts."""

    def __init__(self, number):
        super().__init__()
        self.number, self.asked = number, 0

    def forward(self, noised, timestep, text, return_dict):
        self.asked += 1
        return (torch.full_like(noised, self.number) * text[:, 0, 0].view(-1, 1, 1, 1, 1),)


@pytest.fixture
def high():
    return Says(1.0)


@pytest.fixture
def low():
    return Low(network=Says(10.0), guidance=4.0, boundary=0.875)


def said(high, low, sigmas, *, scale=2.0, away: torch.Tensor | None = AWAY):
    velocity = velocities.sampled(high, scale, low, process=tiny.process(), text=TEXT, away=away)
    return velocity(NOISED, torch.tensor(sigmas, dtype=torch.float64))[:, 0, 0, 0, 0].tolist()


def test_each_expert_is_guided_by_its_own_scale_at_its_own_sigmas(high, low):
    assert said(high, low, [HIGH, HIGH]) == [5.0, 5.0]  # 1 + 2 (3 - 1)
    assert said(high, low, [LOW, LOW]) == [90.0, 90.0]  # 10 + 4 (30 - 10)
    assert said(high, low, [LOW, HIGH]) == [90.0, 5.0]


def test_only_the_expert_that_serves_is_asked_and_twice_where_it_is_guided(high, low):
    said(high, low, [HIGH, HIGH])
    assert (high.asked, low.network.asked) == (2, 0)
    said(high, low, [LOW, LOW], scale=1.0)
    assert (high.asked, low.network.asked) == (2, 2)
    assert said(high, low, [HIGH, HIGH], scale=1.0) == [3.0, 3.0]
    assert (high.asked, low.network.asked) == (3, 2)


def test_one_network_serves_all_sigmas_and_nothing_is_guided_without_something_to_steer_away_from(high):
    assert said(high, None, [HIGH, LOW]) == [5.0, 5.0]
    assert said(high, None, [HIGH, LOW], away=None) == [3.0, 3.0]


def test_an_expert_that_another_process_needs_is_asked_too(high, low):
    def guided(network, scale):
        return lambda noised, sigma: network(noised, sigma, TEXT, False)[0] * scale

    velocity = velocities.served(high, 2.0, low, guided, lambda *_: (True, True))
    assert velocity(NOISED, torch.tensor([HIGH, HIGH]))[:, 0, 0, 0, 0].tolist() == [6.0, 6.0]
    assert (high.asked, low.network.asked) == (1, 1)


def test_processes_that_share_two_experts_ask_the_same_ones_and_hear_whole_answers(tmp_path):
    """Each has a row for another expert; without agreeing they would put parts of two networks together."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "tests.shared_experts", str(tmp_path / "apart")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [float((tmp_path / f"apart-{rank}").read_text()) for rank in range(2)] == pytest.approx([0, 0], abs=1e-6)
