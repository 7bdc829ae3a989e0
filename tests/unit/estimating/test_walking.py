from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from frostline import codec
from frostline.estimating import encoding
from frostline.estimating.walking import Held, walked


def test_what_lives_is_counted_and_what_is_let_go_of_is_not():
    with Held() as held:
        one = torch.zeros(100)
        view = one.view(10, 10)
        two = one + 1
        del two
        three = view.sum()
    assert (held.now, held.most) == (404, 800)
    assert three == 0


def test_a_call_without_numbers_counts_as_one_with_them():
    found = []
    for device in ("cpu", "meta"):
        with walked() as walk:
            a = torch.ones(64, 32, device=device)
            b = torch.relu(a @ a.T)
            del a
            b.sum()
        found.append((walk.bytes, walk.flops))
    assert found[0] == found[1] == (2 * 64 * 64 * 4 + 64 * 32 * 4, 2 * 64 * 64 * 32)


@pytest.mark.parametrize("bucket", [(1, 64, 64), (9, 32, 48)])
def test_a_call_of_the_vae_is_that_of_the_codec(bucket, tiny_base):
    pixels = torch.randint(0, 256, (2, *bucket, 3), dtype=torch.uint8)
    coder = codec.Codec(tiny_base)
    vae = coder.vae
    with sdpa_kernel(SDPBackend.MATH), walked() as real:
        coder.encode(pixels)
    with torch.device("meta"):
        without: Any = type(vae).from_config(vae.config)
    walk = encoding.of_vae(without.eval(), tuple(pixels.shape), None)
    assert (walk.bytes, walk.flops) == (real.bytes, real.flops)
