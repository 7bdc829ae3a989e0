import pytest
import torch

from frostline.checks import cache_identity

PIXELS = torch.randint(0, 256, (8, 1, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
WEIGHTS = torch.randn(192, 64, generator=torch.Generator().manual_seed(1))


def encode(pixels):
    return (pixels.flatten(1).float() / 127.5 - 1.0) @ WEIGHTS


def checked(stored, dtype="float32", cache="vae-a", base="vae-a"):
    return cache_identity.check(
        pixels=PIXELS, stored=stored, stored_dtype=dtype, encode=encode, cache_digest=cache, base_digest=base
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_todays_latents_pass(dtype):
    assert checked(encode(PIXELS).to(getattr(torch, dtype)), dtype).verdict == "pass"


def test_bfloat16_said_to_be_float32_fails():
    assert checked(encode(PIXELS).bfloat16()).verdict == "fail"


@pytest.mark.parametrize("fault", [lambda x: x.roll(1, 0), lambda x: 1.05 * x, lambda x: x + 0.5, torch.zeros_like])
def test_other_latents_fail(fault):
    finding = checked(fault(encode(PIXELS)), "bfloat16")
    assert finding.verdict == "fail"
    assert "relative_error" in finding.reason


def test_another_vae_fails_though_its_numbers_agree():
    finding = checked(encode(PIXELS), base="vae-b")
    assert finding.verdict == "fail"
    assert "vae-a" in finding.reason
    assert "vae-b" in finding.reason


def test_relative_error_is_that_of_norms():
    fresh = torch.tensor([3.0, 4.0])
    assert cache_identity.relative_error(torch.tensor([3.0, 4.5]), fresh) == pytest.approx(0.1)
