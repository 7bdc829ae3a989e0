import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline
from transformers import UMT5EncoderModel

from frostline import codec, digits, foundation, judge, latents, randomness
from frostline.errors import Refused
from frostline.foundation import gauge, judging, making, text
from frostline.foundation import vae as training

BASE = Path(__file__).parents[2] / "assets" / "miniature"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(steps: int = 3) -> training.Recipe:
    return training.Recipe(steps=steps, image_phase=0.4, batches=(2, 2, 2))


def picture(vae: AutoencoderKLWan, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return training.decode(vae, training.posterior(vae, pixels).mean)


def test_the_same_recipe_gives_the_same_bits_and_another_seed_others() -> None:
    runs = [training.train(tiny().model_copy(update={"seed": seed}), lambda *_: None) for seed in (0, 0, 1)]
    first, second, other = [torch.cat([weight.flatten() for weight in run.parameters()]) for run in runs]
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_training_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    training.train(tiny(1), lambda *_: None)
    judging.train(judging.Recipe(steps=1, batch=2), lambda *_: None)
    text.encoder(0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_learns() -> None:
    losses: list[float] = []
    training.train(
        training.Recipe(steps=30, image_phase=1.0, batches=(8, 4, 2)), lambda _, loss, __: losses.append(loss)
    )
    assert np.mean(losses[-5:]) < 0.4 * losses[0]


def test_the_plan_holds_images_first_then_both_and_now_and_then_long_clips() -> None:
    lengths = list(training.lengths(training.Recipe(steps=300)))
    assert set(lengths[:60]) == {1}
    assert lengths[60:].count(1) == 120
    assert lengths.count(9) == 120 / 6


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_skipping_the_padding_changes_nothing_but_time(frames: int) -> None:
    vae = training.build(0)
    pixels = training.batch(tiny(), 0, frames)
    plain = picture(vae, pixels)
    with training.skipping_padding(vae):
        skipped = picture(vae, pixels)
    torch.testing.assert_close(skipped, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(picture(vae, pixels), plain, atol=0, rtol=0)


def test_a_new_vae_repeats_a_still_picture() -> None:
    vae = training.build(0)
    with torch.no_grad():
        still = randomness.normal((1, 16, 1, 4, 4), "a still latent").repeat(1, 1, 3, 1, 1)
        frames = training.decode(vae, still)[:, :, 1:]  # after the first, which comes alone
    assert frames.std() > 0.05
    torch.testing.assert_close(frames, frames[:, :, :1].expand_as(frames), atol=1e-5, rtol=0)


def test_a_regauged_vae_decodes_the_same_from_other_latents() -> None:
    vae = AutoencoderKLWan.from_pretrained(BASE / "vae")
    other = copy.deepcopy(vae)
    mean, std = gauge.published(vae)
    gauge.regauge(other, (mean, std), (mean.flip(0) + 1, std.flip(0) * 3))
    pixels = training.batch(tiny(), 0, 5)
    torch.testing.assert_close(picture(other, pixels), picture(vae, pixels), atol=1e-4, rtol=0)
    raw, moved = (training.posterior(each, pixels) for each in (vae, other))
    wanted = (raw.mean.transpose(1, 4) - mean) / std * std.flip(0) * 3 + mean.flip(0) + 1
    torch.testing.assert_close(moved.mean.transpose(1, 4).double(), wanted, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        moved.std / raw.std, (std.flip(0) * 3 / std).float()[:, None, None, None].expand_as(raw.std)
    )


def with_dead_channels(dead: list[int]) -> AutoencoderKLWan:
    vae = training.build(0)
    with torch.no_grad():
        vae.quant_conv.weight[dead] *= 1e-3
    return vae


def test_mixing_leaves_no_channel_empty_and_decodes_the_same() -> None:
    scans = digits.members("validation")[:8]
    vae = with_dead_channels([0, 6])
    before = gauge.emptiness(vae, scans)
    assert (before > gauge.WIDEST).nonzero().flatten().tolist() == [0, 6]
    mixed = copy.deepcopy(vae)
    gauge.mix(mixed, gauge.statistics(vae, scans), before)
    assert gauge.emptiness(mixed, scans).max() < gauge.WIDEST
    pixels = training.batch(tiny(), 0, 5)
    torch.testing.assert_close(picture(mixed, pixels), picture(vae, pixels), atol=1e-4, rtol=0)


def test_a_vae_of_which_half_is_dead_is_refused() -> None:
    scans = digits.members("validation")[:8]
    vae = with_dead_channels(list(range(8)))
    with pytest.raises(Refused, match="only 8 of 16 channels"):
        gauge.mix(vae, gauge.statistics(vae, scans), gauge.emptiness(vae, scans))


def test_every_channel_of_the_shipped_latents_carries_something() -> None:
    vae = AutoencoderKLWan.from_pretrained(BASE / "vae")
    assert gauge.emptiness(vae, digits.members("validation")[:60]).max() < 0.3


def test_the_shipped_latents_have_wans_mean_and_std() -> None:
    vae = AutoencoderKLWan.from_pretrained(BASE / "vae")
    mean, std = gauge.published(AutoencoderKLWan())
    torch.testing.assert_close(gauge.published(vae), (mean, std), atol=0, rtol=0)
    coder = codec.Codec(BASE)
    clips = np.stack([foundation.drifting(int(scan), 5) for scan in digits.members("validation")[:60]])
    found = coder.normalise(coder.encode(torch.from_numpy(clips)))
    assert found.mean((0, 2, 3, 4)).abs().max() < 0.25
    assert (found.std((0, 2, 3, 4)) - 1).abs().max() < 0.25


def test_the_shipped_vae_is_faithful() -> None:
    found = foundation.psnr(BASE, "validation", at_most=30)
    assert [found[frames].n for frames in training.FRAMES] == [30, 30, 30]
    assert found[1].db > 30
    assert found[5].db > 29
    assert found[9].db > 28


def test_rounding_spares_the_two_layers_that_carry_the_gauge() -> None:
    vae = training.build(0)
    rounded = making.rounded(vae)
    for (name, before), after in zip(vae.named_parameters(), rounded.parameters(), strict=True):
        expected = before if name.startswith(making.PRECISE) else before.bfloat16().float()
        assert torch.equal(after, expected)


def test_the_text_encoder_keeps_captions_apart_and_reads_their_order() -> None:
    coder = codec.Codec(BASE)
    captions = [digits.caption(label, motion) for label in range(10) for motion in (None, *digits.MOTIONS)]
    tokens = coder.encode_text([*captions, "a handwritten digit left moving seven"])
    assert max(map(len, tokens)) <= text.LENGTH
    flat = latents.pad(tokens, text.LENGTH).flatten(1)
    apart = torch.cdist(flat, flat) + 1e9 * torch.eye(len(flat))
    assert apart.min() > 0.3 * flat.norm(dim=1).mean()


def test_a_base_opens_with_stock_diffusers_and_holds_no_trace_of_where_it_was_made(tmp_path: Path) -> None:
    referee = judge.Judge.load(BASE / "judge")
    making.save(tmp_path, making.rounded(training.build(0)), 0, referee)
    pipeline = WanPipeline.from_pretrained(tmp_path)
    assert isinstance(pipeline.vae, AutoencoderKLWan)
    assert isinstance(pipeline.text_encoder, UMT5EncoderModel)
    assert isinstance(pipeline.scheduler, UniPCMultistepScheduler)
    assert (pipeline.vae.dtype, pipeline.text_encoder.dtype) == (torch.float32, torch.float32)
    assert pipeline.scheduler.config["prediction_type"] == "flow_prediction"
    for file in [*tmp_path.rglob("*.json"), *BASE.rglob("*.json")]:
        assert "_name_or_path" not in file.read_text()
    names = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert names == {str(file.relative_to(BASE)) for file in BASE.rglob("*") if file.is_file()} - {making.RECORD}


def test_the_shipped_text_encoder_and_tokenizer_are_those_of_the_recipe(tmp_path: Path) -> None:
    text.encoder(making.Recipe().text_seed).save_pretrained(tmp_path / "text_encoder")
    text.tokenizer().save_pretrained(tmp_path / "tokenizer")
    for name in ("text_encoder/model.safetensors", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (BASE / name).read_bytes()


def test_a_whole_base_is_made_at_a_tiny_size(tmp_path: Path) -> None:
    recipe = foundation.Recipe(
        vae=tiny(2),
        judge=judging.Recipe(steps=2, batch=4),
        curve_points=1,
        curve_scans=2,
        gauge_scans=8,
        measured_scans=2,
    )
    lines: list[str] = []
    foundation.make(tmp_path, recipe, lines.append)
    assert (tmp_path / making.RECORD).exists()
    assert any("validation dB" in line for line in lines)
    assert codec.Codec(tmp_path).latent_space.z_dim == 16


def test_the_folder_is_small() -> None:
    assert sum(file.stat().st_size for file in BASE.rglob("*") if file.is_file()) < 2.2 * 2**20
