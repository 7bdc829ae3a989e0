"""The codec here is real and small enough to see through: an orthogonal mixing of pixels, rounded."""

import pytest
import torch

from frostline.checks import codec_roundtrip


def orthogonal(seed):
    return torch.linalg.qr(torch.randn(192, 192, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q


BASIS = orthogonal(0)


def encode(pixels, basis=BASIS):
    signed = pixels.double() / 127.5 - 1.0
    return (signed.flatten(1) @ basis * 32).round() / 32


def decode(latents, basis=BASIS):
    return ((latents @ basis.T + 1.0) / 2.0).clamp(0, 1).reshape(-1, 1, 8, 8, 3).float()


@pytest.fixture
def pixels():
    """Coloured pictures, none of them grey or symmetric in its channels."""
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(8, 1, 8, 8, 3, generator=generator) * torch.tensor([1.0, 0.6, 0.2])
    return (255 * pictures).to(torch.uint8)


def test_the_right_codec_passes(pixels):
    finding = codec_roundtrip.check(pixels=pixels, latents=encode(pixels), decode=decode)
    assert finding.verdict == "pass"
    assert finding.measured["decibels"] > 35


def test_another_codec_fails(pixels):
    other = orthogonal(5)
    finding = codec_roundtrip.check(pixels=pixels, latents=encode(pixels), decode=lambda x: decode(x, other))
    assert finding.verdict == "fail"
    assert finding.measured["decibels"] < 12


def test_swapped_channels_are_named(pixels):
    finding = codec_roundtrip.check(pixels=pixels, latents=encode(pixels.flip(-1)), decode=decode)
    assert finding.verdict == "fail"
    assert "BGR [-1, 1]" in finding.reason


def test_pixels_in_the_wrong_range_are_named(pixels):
    cached_from_0_to_1 = (pixels.double() / 255).flatten(1) @ BASIS
    finding = codec_roundtrip.check(pixels=pixels, latents=cached_from_0_to_1, decode=decode)
    assert finding.verdict == "fail"
    assert "RGB [0, 1]" in finding.reason


def test_the_limit_is_the_caller_s(pixels):
    latents = encode(pixels)
    strict = codec_roundtrip.check(pixels=pixels, latents=latents, decode=decode, least_decibels=90.0)
    assert strict.verdict == "fail"
    assert strict.threshold[0].value == 90.0


def test_known_ratio():
    flat = torch.full((1, 1, 2, 2, 3), 0.5, dtype=torch.float64)
    assert codec_roundtrip.peak_ratio(flat + 0.1, flat) == pytest.approx(20.0)
    assert codec_roundtrip.peak_ratio(flat, flat) == pytest.approx(200.0)
