import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from diffusers.pipelines.wan import pipeline_wan

from frostline import codec, params, randomness
from frostline.codec import Codec
from frostline.errors import Refused, WrongUse
from frostline.tiling import Tiling


@pytest.fixture(scope="module")
def tiny(tiny_base):
    return Codec(tiny_base)


def pixels(*shape):
    return (torch.rand(*shape, 3, generator=randomness.generator("pixels")) * 255).to(torch.uint8)


def test_encoding_is_causal(tiny):
    clip = pixels(1, 9, 16, 16)
    whole = tiny.encode(clip)
    assert whole.shape == (1, 16, 3, 2, 2)
    torch.testing.assert_close(tiny.encode(clip[:, :5]), whole[:, :, :2], atol=1e-6, rtol=0)
    torch.testing.assert_close(tiny.encode(clip[:, :1]), whole[:, :, :1], atol=1e-6, rtol=0)


def test_windows_of_a_large_frame_give_its_latents(tiny):
    frame = pixels(2, 1, 120, 152)
    whole, windows = tiny.encode(frame), tiny.encode(frame, Tiling(tile=104))
    torch.testing.assert_close(windows, whole, atol=1e-5, rtol=0)
    assert torch.equal(tiny.encode(frame, Tiling(tile=152)), whole)
    with pytest.raises(WrongUse, match="tile 64: must be a multiple of 8 above 80"):
        tiny.encode(frame, Tiling(tile=64))


def test_latents_do_not_depend_on_settings_of_the_loaded_vae(tiny, tiny_base):
    frames = pixels(2, 1, 64, 64)
    other = Codec(tiny_base)
    other.vae.enable_tiling(32, 32, 16, 16)
    other.vae.enable_slicing()
    assert torch.equal(other.encode(frames), tiny.encode(frames))


def test_latents_are_computed_in_float32_unless_the_latent_space_says_otherwise(tiny, tiny_base):
    half = Codec(tiny_base, encode_dtype="bfloat16")
    assert (tiny.latent_space.encode_dtype, half.latent_space.encode_dtype) == ("float32", "bfloat16")
    clip = pixels(1, 5, 16, 16)
    rounded = AutoencoderKLWan.from_pretrained(tiny_base / "vae", torch_dtype=torch.bfloat16)
    unit = clip.permute(0, 4, 1, 2, 3).float() / 255 * 2 - 1
    with torch.inference_mode():
        encoded: Any = rounded.encode(unit.bfloat16())
    expected, found = encoded.latent_dist.mode(), half.encode(clip)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected.float())
    assert not torch.equal(found, tiny.encode(clip))
    latents = tiny.normalise(found)
    assert torch.equal(half.decode_float(latents), tiny.decode_float(latents))


def test_a_part_that_is_let_go_of_is_gone_and_can_be_had_again(tiny_base):
    ours = Codec(tiny_base, encode_dtype="bfloat16")
    clip = pixels(1, 1, 16, 16)
    before = [ours.encode(clip), ours.decode(ours.encode(clip)), *ours.encode_text(["seven"])]
    weights = {
        part: [weakref.ref(weight) for weight in (*module.parameters(), module)]
        for part, module in (("vae", ours.vae), ("text_encoder", ours.text_encoder), ("half", ours._rounded_vae))
    }
    ours.release("text_encoder")
    assert not any(weight() is not None for weight in weights["text_encoder"])
    assert all(weight() is not None for weight in weights["vae"])
    ours.release("vae")
    assert not any(weight() is not None for weight in [*weights["vae"], *weights["half"]])
    ours.release("vae")  # nothing is loaded: nothing to do
    after = [ours.encode(clip), ours.decode(ours.encode(clip)), *ours.encode_text(["seven"])]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_parameters_are_counted_without_weights(tiny, tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "base")
    bare = Codec(tmp_path / "base")
    for part in ("vae", "text_encoder"):
        (weights,) = (tmp_path / "base" / part).glob("*.safetensors")
        weights.unlink()
    assert bare.parameters_of("vae") == sum(p.numel() for p in tiny.vae.parameters())
    assert bare.parameters_of("text_encoder") == sum(p.numel() for p in tiny.text_encoder.parameters())


@pytest.mark.parametrize("frames", [2, 4, 6, 8])
def test_frames_that_would_be_dropped_are_refused(tiny, frames):
    with pytest.raises(WrongUse, match=r"drops the rest silently; use \d"):
        tiny.encode(pixels(1, frames, 16, 16))


def test_pixels_of_another_kind_are_refused(tiny):
    for wrong in (pixels(1, 1, 16, 16).float(), pixels(1, 16, 16), pixels(1, 1, 16, 16).permute(0, 4, 1, 2, 3)):
        with pytest.raises(WrongUse, match="uint8"):
            tiny.encode(wrong)
    with pytest.raises(WrongUse, match="12x16"):
        tiny.encode(pixels(1, 1, 12, 16))


def test_a_latent_does_not_depend_on_its_neighbours(tiny):
    batch = pixels(4, 1, 16, 16)
    other = torch.cat([batch[:1], batch[:1].flip(2).expand(3, -1, -1, -1, -1)])
    assert torch.equal(tiny.encode(batch)[0], tiny.encode(other)[0])


def test_latents_are_normalised_by_the_published_numbers(tiny):
    raw = tiny.encode(pixels(1, 1, 16, 16))
    space = tiny.latent_space
    torch.testing.assert_close(
        tiny.normalise(raw)[0, 3], (raw[0, 3] - space.latents_mean[3]) / space.latents_std[3], atol=1e-6, rtol=1e-6
    )
    torch.testing.assert_close(tiny.denormalise(tiny.normalise(raw)), raw, atol=1e-5, rtol=0)


def test_decoding_gives_pixels_back(tiny):
    latents = tiny.normalise(tiny.encode(pixels(2, 5, 16, 16)))
    floats, decoded = tiny.decode_float(latents), tiny.decode(latents)
    assert decoded.shape == (2, 5, 16, 16, 3)
    assert decoded.dtype == torch.uint8
    assert 0 <= floats.min() < floats.max() <= 1
    assert torch.equal(decoded, (floats * 255).round().to(torch.uint8))


def test_a_text_alone_is_the_text_among_others(tiny):
    prompts = ["a handwritten digit seven", "", "zero", *["a handwritten digit two moving left"] * 5]
    together = tiny.encode_text(prompts)
    assert [len(text) for text in together[:4]] == [5, 1, 2, 7]
    for prompt, text in zip(prompts[:4], together, strict=False):
        alone = tiny.encode_text([prompt])[0]
        assert (alone - text).abs().max() < 1e-4


def test_texts_are_cleaned_as_the_pipeline_does(tiny):
    messy, tidy = tiny.encode_text(["a  handwritten\ndigit &quot; one ", 'a handwritten digit " one'])
    assert torch.equal(messy, tidy)
    assert codec.clean(" a\n b &amp; c") == "a b & c"


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_a_text_encoder_is_computed_in_its_own_dtype(tiny, tiny_base, tmp_path, key):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    path = base / "text_encoder" / "config.json"
    config = {name: value for name, value in json.loads(path.read_text()).items() if name != "dtype"}
    path.write_text(json.dumps({**config, key: "bfloat16"}))
    half = Codec(base)
    assert (tiny.latent_space.text_stored_dtype, half.latent_space.text_stored_dtype) == ("float32", "bfloat16")
    assert {p.dtype for p in half.text_encoder.parameters()} == {torch.bfloat16}
    prompts = ["a handwritten digit seven", "zero"]
    for full, rounded in zip(tiny.encode_text(prompts), half.encode_text(prompts), strict=True):
        assert rounded.dtype == torch.float32
        assert torch.equal(rounded, rounded.bfloat16().float())  # so nothing is lost when it is stored
        assert not torch.equal(rounded, full)
        assert (rounded - full).norm() < 0.05 * full.norm()
    path.write_text(json.dumps(config))
    assert Codec(base).latent_space.text_stored_dtype == "float32"


def test_a_codec_is_made_as_params_say(tiny_base):
    default = params.load(Path(__file__).parents[2] / "params.yaml")
    asked = default.cache.model_copy(update={"encode_dtype": "bfloat16", "stored_dtype": "float32"})
    made = codec.of_params(default.model_copy(update={"base": str(tiny_base), "cache": asked}))
    assert (made.latent_space.encode_dtype, made.latent_space.stored_dtype) == ("bfloat16", "float32")
    assert (made.base, made.device) == (tiny_base, "cpu")


def test_another_vae_is_another_space_and_its_statistics_are_not_its_identity(tiny_base, other_base, tmp_path):
    ours, theirs = codec.latent_space(tiny_base), codec.latent_space(other_base)
    assert ours.vae_digest != theirs.vae_digest
    assert ours.text_encoder_digest == theirs.text_encoder_digest
    shutil.copytree(tiny_base, tmp_path / "base")
    path = tmp_path / "base" / "vae" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "latents_mean": [9.0] * 16, "_diffusers_version": "9"}))
    changed = codec.latent_space(tmp_path / "base")
    assert changed.vae_digest == ours.vae_digest
    assert changed.latents_mean == (9.0,) * 16


def test_a_part_that_is_missing_or_does_not_fit_is_named(tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "base")
    path = tmp_path / "base" / "vae" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "num_res_blocks": 2}))
    with pytest.raises(Refused, match=r"vae.*do not belong together.*missing_keys"):
        Codec(tmp_path / "base").encode(pixels(1, 1, 16, 16))
    path.unlink()
    with pytest.raises(WrongUse, match=r"vae/config\.json: missing"):
        Codec(tmp_path / "base")


def test_nothing_of_it_can_be_trained(tiny):
    assert not any(p.requires_grad for module in (tiny.vae, tiny.text_encoder) for p in module.parameters())


def test_plain_captions_are_cleaned_as_the_pipeline_does_without_asking_it():
    draw = np.random.default_rng(0)
    letters = [chr(code) for code in range(32, 127) if chr(code) != "&"]
    for _ in range(300):
        text = "".join(draw.choice([*letters, *" " * 40], size=draw.integers(40)))
        assert codec.clean(text) == pipeline_wan.prompt_clean(text)
    for text in ("a &amp; b", "caf\u00c3\u00a9", "one\ntwo", "tab\there", "\u201cquoted\u201d"):
        assert codec.clean(text) == pipeline_wan.prompt_clean(text)
