import torch
from torch import nn

from frostline.ema import Average


def test_the_average_follows_with_a_decay_that_warms_up():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, 0.5)
    expected = 0.0
    for step in range(20):
        nn.init.constant_(network.weight, step + 1.0)
        average.follow(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1)
    assert abs(average.network.state_dict()["weight"].item() - expected) < 1e-5


def test_no_decay_is_the_network_itself():
    network = nn.Linear(2, 2)
    average = Average(network, 0.0)
    with torch.no_grad():
        network.weight.add_(1.0)
    average.follow(network, 100)
    assert torch.equal(average.network.state_dict()["weight"], network.weight)
    assert not any(p.requires_grad for p in average.network.parameters())
    assert network.weight.requires_grad


def test_maturity_is_the_share_of_the_average_that_came_since_the_start():
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    average = Average(network, 0.9)
    nn.init.zeros_(network.weight)
    for step in range(12):
        average.follow(network, step)
        assert abs(1 - average.network.state_dict()["weight"].item() - average.maturity(step + 1)) < 1e-6
    assert average.maturity(0) == 0.0
