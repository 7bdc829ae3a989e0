import copy

import torch
from torch import nn

from frostline.ema import Average
from tests import tiny


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


def test_weights_brought_together_move_as_each_alone_and_lie_as_torch_aligns_them():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7, bias=False), nn.Conv1d(2, 3, 3))
    parameters, start = list(network.parameters()), [p.detach().clone() for p in network.parameters()]
    average = Average(network, 0.7)
    moved = [p + torch.randn_like(p) for p in start]
    with torch.no_grad():
        for parameter, there in zip(parameters, moved, strict=True):
            parameter.copy_(there)
    average.follow(network, 3)
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))  # the optimiser's own
    for own, parameter, begin, there in zip(average.network.parameters(), parameters, start, moved, strict=True):
        assert torch.equal(parameter, there)
        assert torch.equal(own, torch.lerp(begin, there, 1 - 4 / 13))
        assert own.data_ptr() % 64 == parameter.data_ptr() % 64 == 0


def test_what_moves_after_they_were_brought_together_is_followed():
    network = nn.Linear(3, 3)
    average = Average(network, 0.0)
    average.follow(network, 0)
    with torch.no_grad():
        network.bias.add_(1.0)
    average.follow(network, 1)
    assert torch.equal(average.network.state_dict()["bias"], network.bias)


def test_two_averages_of_one_network_both_follow_it():
    """Each brings small weights together: the second must not take them away from the first."""
    network = tiny.network()
    quick, slow = Average(network, 0.05), Average(network, 0.9)
    alone = Average(copy.deepcopy(network), 0.05)
    for step in range(3):
        with torch.no_grad():
            for weights in network.parameters():
                weights.add_(0.1)
        quick.follow(network, step)
        slow.follow(network, step)
        beside = copy.deepcopy(network)
        for own, other in zip(alone.network.parameters(), beside.parameters(), strict=True):
            own.lerp_(other, 1 - min(0.05, (1 + step) / (10 + step)))
    for own, other in zip(quick.network.parameters(), alone.network.parameters(), strict=True):
        torch.testing.assert_close(own, other)
    assert not next(slow.network.parameters()).equal(next(quick.network.parameters()))


def test_weights_that_were_put_elsewhere_are_followed_there():
    network = nn.Linear(3, 3)
    average = Average(network, 0.0)
    average.follow(network, 0)
    for parameter in network.parameters():
        parameter.data = torch.full_like(parameter, 7.0)
    average.follow(network, 1)
    assert all(bool((own == 7).all()) for own in average.network.parameters())
