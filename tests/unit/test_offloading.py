"""Weights that wait on the host: on a CPU nothing is copied, but who comes, when, and for how long is seen."""

import functools

import pytest
import torch
from diffusers.hooks.group_offloading import ModuleGroup
from torch import nn

from frostline import codec, offloading, residence
from tests import tiny

CPU = torch.device("cpu")


class Diary:
    """Which modules are on the device, as groups come and go."""

    def __init__(self) -> None:
        self.here: set[nn.Module] = set()
        self.most = 0  # blocks at once

    def came(self, group: ModuleGroup) -> None:
        self.here |= set(group.modules)
        self.most = max(self.most, sum(1 for module in self.here if module in self.blocks))

    def went(self, group: ModuleGroup) -> None:
        self.here -= set(group.modules)

    blocks: frozenset[nn.Module] = frozenset()


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> Diary:
    kept = Diary()
    come, go = ModuleGroup.onload_, ModuleGroup.offload_

    def onload(group: ModuleGroup) -> None:
        kept.came(group)
        come(group)

    def offload(group: ModuleGroup) -> None:
        kept.went(group)
        go(group)

    monkeypatch.setattr(ModuleGroup, "onload_", onload)
    monkeypatch.setattr(ModuleGroup, "offload_", offload)
    return kept


def watched(diary: Diary, blocks: nn.ModuleList) -> list[nn.Module]:
    """Blocks in the order of their passes; fails where one is asked that is not there."""
    diary.blocks, asked = frozenset(blocks), list[nn.Module]()

    def see(block: nn.Module) -> None:
        assert block in diary.here
        asked.append(block)

    for block in blocks:  # inside of the block, so after what brings it
        first = next(module for module in block.modules() if not [*module.children()])
        first.register_forward_pre_hook(functools.partial(lambda block, *_: see(block), block))
    return asked


def test_a_transformer_s_blocks_come_one_at_a_time_and_it_says_the_same(diary):
    network, given = tiny.network().eval(), (torch.randn(2, 4, 1, 2, 2), torch.tensor([999.0, 500.0]))
    text = torch.randn(2, 6, 8)
    with torch.inference_mode():
        before = network(*given, text, return_dict=False)[0]
        offloading.spread(network, CPU)
        assert not diary.here
        asked = watched(diary, network.blocks)
        for _ in range(2):
            assert torch.equal(network(*given, text, return_dict=False)[0], before)
    assert asked == 2 * list(network.blocks)
    assert diary.most == 1
    assert not diary.here


def test_a_text_encoder_s_blocks_come_one_at_a_time_and_it_says_the_same(tiny_base, diary, monkeypatch):
    texts = ["seven", "a handwritten digit two"]
    whole, spread = codec.Codec(tiny_base), codec.Codec(tiny_base)
    expected = whole.encode_text(texts)
    spread.offload = True  # as on a GPU, which is the same device here
    asked = watched(diary, spread.text_encoder.encoder.block)
    assert not diary.here
    found = spread.encode_text(texts)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert asked == list(spread.text_encoder.encoder.block)
    assert diary.most == 1
    assert not diary.here


def test_on_a_cpu_nothing_is_to_be_saved(tiny_base):
    assert not codec.Codec(tiny_base, offload=True).offload


def test_networks_that_are_too_large_for_a_device_never_come_whole(monkeypatch):
    spread: list[tuple[nn.Module, torch.device]] = []
    monkeypatch.setattr(offloading, "spread", lambda network, device: spread.append((network, device)))
    made = [nn.Linear(2, 2), nn.Linear(2, 2)]
    there = residence.Residence("meta", offload=True)
    for network in made:
        there.take(network)
        assert network(torch.zeros(1, 2)).device == CPU
    there.leave()
    assert spread == [(network, torch.device("meta")) for network in made]
