import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify
from torch.profiler import ProfilerActivity, profile

from frostline import digits, piecewise, randomness, world
from frostline.errors import WrongUse

MINIATURE = Path(__file__).parents[2] / "assets" / "miniature" / "vae"


@pytest.fixture(scope="module")
def miniature():
    return AutoencoderKLWan.from_pretrained(MINIATURE).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def deeper():
    """The layers of Wan2.1's VAE, fewer channels, not trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoencoderKLWan(base_dim=4).eval().requires_grad_(False)


def scaled(pixels):
    return pixels.permute(0, 4, 1, 2, 3).float() / 255 * 2 - 1


@torch.inference_mode()
def encode(vae, pixels, tile=None):
    return piecewise.encode(vae, pixels, scaled, tile)


@torch.inference_mode()
def stock(vae, pixels):
    encoded: Any = vae.encode(scaled(pixels))
    return encoded.latent_dist.mode()


def noise(*shape):
    return (torch.rand(*shape, 3, generator=randomness.generator("pixels")) * 255).to(torch.uint8)


def many_digits(frames, rows, columns):
    """Digits side by side, each drifting its own way: (1, frames, 32 rows, 32 columns, 3)."""
    drawn = [digits.render(number, 0, frames, digits.MOTIONS[number % 4]) for number in range(rows * columns)]
    lines = [np.concatenate(drawn[row * columns :][:columns], axis=2) for row in range(rows)]
    return torch.from_numpy(np.concatenate(lines, axis=1))[None]


def a_scene(frames, size):
    return torch.from_numpy(world.render(world.scene(3), frames, size))[None]


def decibels(a, b):
    return 10 * math.log10(4 / max((a - b).square().mean().item(), 1e-20))


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (4, 5, 32, 32), (2, 9, 64, 48), (32, 1, 32, 32), (1, 17, 16, 40)])
def test_whole_frames_give_the_bits_of_diffusers(miniature, deeper, shape):
    pixels = noise(*shape)
    for vae in (miniature, deeper):
        assert torch.equal(encode(vae, pixels), stock(vae, pixels))


def test_half_precision_gives_the_bits_of_diffusers(miniature):
    half = AutoencoderKLWan.from_pretrained(MINIATURE, torch_dtype=torch.bfloat16).eval()
    pixels = many_digits(5, 1, 2)
    with torch.inference_mode():
        encoded: Any = half.encode(scaled(pixels).bfloat16())
    expected = encoded.latent_dist.mode()
    assert torch.equal(encode(half, pixels), expected)
    assert not torch.equal(expected.float(), encode(miniature, pixels))


@pytest.mark.parametrize("pixels", [many_digits(5, 4, 5), a_scene(5, 160)[:, :, :128], a_scene(1, 240)])
def test_windows_of_the_miniature_give_the_latents_of_whole_frames(miniature, pixels):
    whole, windows = encode(miniature, pixels), encode(miniature, pixels, 120)
    error = (windows - whole) / whole.std()
    assert error.square().mean().sqrt() < 1e-6
    assert error.abs().max() < 1e-5
    with torch.inference_mode():
        assert decibels(miniature.decode(windows).sample, miniature.decode(whole).sample) > 110


def test_windows_of_a_deeper_vae_give_the_latents_of_whole_frames(deeper):
    pixels = a_scene(5, 208)[:, :, :160]
    whole, windows = encode(deeper, pixels), encode(deeper, pixels, 168)
    error = (windows - whole) / whole.std()
    assert error.square().mean().sqrt() < 1e-6
    assert error.abs().max() < 1e-5


def test_the_reach_is_what_convolutions_reach_and_no_less(miniature, deeper):
    for vae, stride, pixel in itertools.product((miniature, deeper), [8], range(128, 144)):
        seen = spread(vae, 288, pixel)
        reach = piecewise.reach(vae.config)
        assert seen[0] >= (pixel - (stride - 1) - reach) / stride
        assert seen[-1] <= (pixel + reach) / stride
    furthest = {vae: min(spread(vae, 288, p)[0] * 8 + 7 - p for p in range(128, 144)) for vae in (miniature, deeper)}
    assert [-distance for distance in furthest.values()] == [piecewise.reach(vae.config) for vae in furthest]


@torch.inference_mode()
def spread(vae, width, pixel):
    """Which columns of the features at latent size a column of pixels changes: NaN goes wherever it is seen."""
    unit = torch.zeros(1, 3, 1, 16, width)
    unit[..., pixel] = torch.nan
    x = vae.encoder.conv_in(patchify(unit, vae.config.patch_size or 1))
    for block in vae.encoder.down_blocks:
        x = block(x)
    return x.isnan().any(dim=(0, 1, 2, 3)).nonzero().flatten().tolist()


def test_a_tile_of_margins_is_refused_with_the_least_that_is_not(miniature, deeper):
    with pytest.raises(WrongUse, match=r"tile 80: must be a multiple of 8 above 80 pixels, as this VAE sees 40"):
        encode(miniature, noise(1, 1, 160, 160), 80)
    with pytest.raises(WrongUse, match=r"tile 144: must be a multiple of 8 above 144 pixels, as this VAE sees 72"):
        encode(deeper, noise(1, 1, 160, 160), 144)


def peak(work):
    """The most bytes of tensors that were alive at once on the CPU, beside those that were there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    recorded: Any = profiler.profiler
    events = recorded.kineto_results.events()
    return max(itertools.accumulate(event.nbytes() for event in events if event.name() == "[memory]"))


def test_a_longer_clip_takes_no_more_memory_than_its_latents(miniature):
    short, long = noise(1, 9, 64, 128), noise(1, 25, 64, 128)
    pixels = long[:, 9:].numel()  # bytes by which the long one is longer
    assert peak(lambda: encode(miniature, long)) - peak(lambda: encode(miniature, short)) < 0.3 * pixels
    assert peak(lambda: encode(miniature, long, 104)) - peak(lambda: encode(miniature, short, 104)) < pixels
    assert peak(lambda: stock(miniature, long)) - peak(lambda: stock(miniature, short)) > 7 * pixels


def test_windows_bound_the_memory_of_a_large_frame(miniature):
    small, large = noise(1, 1, 144, 144), noise(1, 1, 288, 288)
    whole = peak(lambda: encode(miniature, large)) - peak(lambda: encode(miniature, small))
    tiled = peak(lambda: encode(miniature, large, 144)) - peak(lambda: encode(miniature, small, 144))
    assert tiled < 0.1 * whole
