import pytest
import torch

from frostline.checks import latent_stats

STD = torch.linspace(1.1, 3.3, 16).reshape(1, 16, 1, 1, 1)  # as published Wan latents have
MEAN = torch.linspace(-2.0, 2.0, 16).reshape(1, 16, 1, 1, 1)


def latents(rows=1000):
    return torch.randn(rows, 16, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def test_normalised_once_passes():
    assert latent_stats.check(latents()).verdict == "pass"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x * STD + MEAN,  # never
        lambda x: (x - MEAN) / STD,  # twice
        lambda x: x * STD,  # mean only
        lambda x: x + MEAN,  # std only
        lambda x: x - MEAN.abs(),  # std only, every mean below 0
        lambda x: x / 0.18215,  # with another model's scale
    ],
)
def test_any_other_number_of_times_fails(wrong):
    finding = latent_stats.check(wrong(latents()))
    assert finding.verdict == "fail"
    assert "frostline.latents" in finding.remedy


def test_few_rows_only_warn():
    finding = latent_stats.check(latents(64))
    assert (finding.verdict, finding.measured["rows"]) == ("warn", 64)


def test_one_dead_channel_fails():
    dead = latents()
    dead[:, 5] = 0.0
    assert "smallest_std" in latent_stats.check(dead).reason


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (0.8, "pass"), (0.5, "fail"), (2.0, "fail")])
def test_samples_are_as_wide_as_data(factor, verdict):
    assert latent_stats.of_samples(factor * latents(200), latents()).verdict == verdict


def test_channels_are_counted_apart():
    mean, std = latent_stats.channel_stats(latents(20_000) * STD + MEAN)
    torch.testing.assert_close(mean, MEAN.flatten().double(), rtol=0, atol=0.05)
    torch.testing.assert_close(std, STD.flatten().double(), rtol=0.02, atol=0)
