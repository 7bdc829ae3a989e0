import functools
import json
import shutil
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from transformers import UMT5EncoderModel

from frostline import codec, digests
from frostline.errors import Refused, WrongUse
from frostline.wan import families, fetching, pins
from tests.golden.wan import cases, small
from tests.unit.wan import folders

HIGH, LOW = "high_noise_model", "low_noise_model"


@pytest.fixture(scope="module")
def published(tmp_path_factory, tiny_base):
    """A small model with two experts as Wan-AI publishes it; copy it, never write in it."""
    return folders.native(tmp_path_factory.mktemp("published") / "a14b", tiny_base, experts=2)


@pytest.fixture
def family(monkeypatch):
    """The small models count as a published family, so that their boundary is known."""
    made = families.FAMILIES[3].model_copy(update={"name": "small", "transformer": Small()})
    monkeypatch.setattr(families, "FAMILIES", (made,))
    return made


class Small(families.Transformer):
    heads: int = 2
    ffn_dim: int = cases.FFN
    layers: int = cases.LAYERS
    in_channels: int = 16
    out_channels: int = 16

    def config(self):
        return folders.transformer_config()


def test_two_experts_become_a_folder_that_diffusers_opens(tmp_path, published, family):
    folder = tmp_path / "base"
    made = fetching.fetch(str(published), folder)
    assert (made.family, made.expert_boundary, made.revision) == ("small", 0.875, None)
    for role, seed in (("transformer", 1), ("transformer_2", 2)):
        network = WanTransformer3DModel.from_pretrained(folder / role)
        expected = small.native("transformer", folders.transformer_config(), seed)
        assert folders.same_bits(dict(network.state_dict()), folders.in_diffusers("transformer", expected))
    vae = AutoencoderKLWan.from_pretrained(folder / "vae")
    expected = small.native("vae", small.vae_config("2.1"), cases.VAES["2.1"]["seed"])
    assert folders.same_bits(dict(vae.state_dict()), folders.in_diffusers("vae", expected))
    loaded: Any = UMT5EncoderModel.from_pretrained(
        folder / "text_encoder", dtype=torch.bfloat16, output_loading_info=True
    )
    encoder, audit = loaded
    assert not any(audit[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert encoder.dtype == torch.bfloat16
    scheduler: Any = UniPCMultistepScheduler.from_pretrained(folder / "scheduler")
    assert scheduler.config["flow_shift"] == 12.0
    index = folders.read_json(folder / "model_index.json")
    assert (index["boundary_ratio"], index["expand_timesteps"]) == (0.875, False)
    assert index["transformer_2"] == ["diffusers", "WanTransformer3DModel"]


@pytest.mark.parametrize(("stated", "length"), [(12, 12), (512, 512), (10**30, 512), (None, 512)])
def test_a_tokenizer_without_a_length_gets_the_one_that_wan_is_trained_with(tmp_path, tiny_base, stated, length):
    root = folders.native(tmp_path / "model", tiny_base)
    path = root / "google" / "umt5-xxl" / "tokenizer_config.json"
    config = folders.read_json(path)
    del config["model_max_length"]
    folders.files.write_json(path, config if stated is None else {**config, "model_max_length": stated})
    fetching.fetch(str(root), tmp_path / "base")
    opened = codec.Codec(tmp_path / "base")
    assert opened.latent_space.text_length == length
    assert [len(text) for text in opened.encode_text(["", "zero one two"])] == [1, 4]
    [text] = opened.encode_text(["zero " * 600])
    assert len(text) == length


def test_the_codec_opens_it_and_computes_text_in_its_own_dtype(tmp_path, published, family):
    fetching.fetch(str(published), tmp_path / "base")
    opened = codec.Codec(tmp_path / "base")
    space = opened.latent_space
    assert (space.z_dim, space.spatial_stride, space.temporal_stride) == (16, 8, 4)
    assert space.latents_mean == families.VAE_21.latents_mean
    assert (space.text_dim, space.text_stored_dtype) == (folders.EMBEDDING, "bfloat16")
    assert opened.encode(torch.zeros(1, 5, 32, 32, 3, dtype=torch.uint8)).shape == (1, 16, 2, 4, 4)
    [embedding] = opened.encode_text(["a handwritten digit seven"])
    assert embedding.shape == (5, folders.EMBEDDING)


def test_what_is_in_the_layout_already_keeps_its_files(tmp_path, published, family):
    first, second = tmp_path / "first", tmp_path / "second"
    fetching.fetch(str(published), first)
    made = fetching.fetch(str(first), second)
    weights = [name for name in made.files if name.endswith(".safetensors")]
    assert len(weights) == 6
    assert all(digests.of_file(first / name) == digests.of_file(second / name) for name in weights)
    assert made.expert_boundary == 0.875  # of model_index.json


def test_a_published_vae_config_of_old_is_completed(tmp_path, tiny_base):
    old = tmp_path / "old"
    folders.native(tmp_path / "native", tiny_base)
    fetching.fetch(str(tmp_path / "native"), old)
    stated = folders.read_json(old / "vae" / "config.json")
    newer = (
        "scale_factor_spatial",
        "scale_factor_temporal",
        "is_residual",
        "in_channels",
        "out_channels",
        "patch_size",
    )
    folders.files.write_json(old / "vae" / "config.json", {k: v for k, v in stated.items() if k not in newer})
    fetching.fetch(str(old), tmp_path / "new")
    assert codec.Codec(tmp_path / "new").latent_space.spatial_stride == 8


def test_a_part_of_another_file_takes_the_place_of_the_folders_own(tmp_path, tiny_base):
    native = folders.native(tmp_path / "native", tiny_base)
    other = small.write(tmp_path / "tuned.safetensors", "transformer", folders.transformer_config(), 9)
    fetching.fetch(str(native), tmp_path / "base", parts={"transformer": other})
    expected = folders.in_diffusers("transformer", small.native("transformer", folders.transformer_config(), 9))
    assert folders.same_bits(folders.read(tmp_path / "base" / "transformer"), expected)
    with pytest.raises(WrongUse, match="holds a transformer, not a vae"):
        fetching.fetch(str(native), tmp_path / "b", parts={"vae": other})


def test_the_miniature_goes_through_the_same_doors(tmp_path, tiny_base):
    made = fetching.fetch(str(tiny_base), tmp_path / "base")
    assert made.family is None
    assert codec.latent_space(tmp_path / "base") == codec.latent_space(tiny_base)


def test_fetched_again_it_is_compared(tmp_path, published, family):
    folder = tmp_path / "base"
    made = fetching.fetch(str(published), folder)
    assert fetching.fetch(str(published), folder) == made
    with pytest.raises(Refused, match="was fetched from"):
        fetching.fetch(str(tmp_path), folder)
    file = next((folder / "vae").glob("*.safetensors"))
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    (folder / "vae" / "more.txt").write_text("")
    with pytest.raises(Refused) as refused:
        fetching.fetch(str(published), folder)
    assert "vae/diffusion_pytorch_model.safetensors: has the digest" in str(refused.value)
    assert "vae/more.txt: was not there" in str(refused.value)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(WrongUse, match="was not fetched"):
        fetching.fetch(str(published), folder)


# Wrong pairings


def copy(published, tmp_path):
    return shutil.copytree(published, tmp_path / "model")


def test_the_vae_of_22_under_a_model_of_21(tmp_path, published, family):
    root = copy(published, tmp_path)
    (root / "Wan2.1_VAE.pth").unlink()
    small.write(root / "Wan2.2_VAE.pth", "vae", small.vae_config("2.2"), 6)
    with pytest.raises(
        Refused, match=r"latents of 16 channels \(as of Wan2.1's VAE\), the VAE makes 48 \(as of Wan2.2's"
    ):
        fetching.fetch(str(root), tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_a_student_of_the_5b_with_latents_of_16_channels(tmp_path, tiny_base):
    root = folders.native(tmp_path / "model", tiny_base, name="5b", vae="2.1")
    with pytest.raises(Refused, match=r"latents of 48 channels.*the VAE makes 16"):
        fetching.fetch(str(root), tmp_path / "base")


def test_experts_in_each_others_place_by_name(tmp_path, published, family):
    root = copy(published, tmp_path)
    low = root / LOW / "wan2.2_t2v_low_noise_14B.safetensors"
    folders.write(low, small.native("transformer", folders.transformer_config(), 2))
    with pytest.raises(Refused, match="named after the low-noise expert, but in the place of the other; swap"):
        fetching.fetch(str(root), tmp_path / "base", parts={"transformer": low})


def test_experts_in_each_others_place_after_fetching(tmp_path, published, family):
    folder = tmp_path / "base"
    fetching.fetch(str(published), folder)
    (folder / "transformer").rename(folder / "aside")
    (folder / "transformer_2").rename(folder / "transformer")
    (folder / "aside").rename(folder / "transformer_2")
    with pytest.raises(Refused, match=r"holds the low-noise expert.*swap them back"):
        pins.require_whole(folder)


def test_experts_of_two_models(tmp_path, published, family):
    root = copy(published, tmp_path)
    shutil.rmtree(root / LOW)
    shutil.copytree(root / HIGH, root / LOW)
    stated = folders.read_json(root / LOW / "config.json")
    folders.files.write_json(root / LOW / "config.json", {**stated, "num_heads": 4})
    with pytest.raises(Refused, match="expert differ in attention_head_dim 24 and 12, num_attention_heads 2 and 4"):
        fetching.fetch(str(root), tmp_path / "base")


@pytest.mark.parametrize("stated", [875, 0, "0.875"])
def test_a_boundary_that_is_no_sigma(tmp_path, published, family, stated):
    fetching.fetch(str(published), tmp_path / "base")
    index = tmp_path / "base" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "boundary_ratio": stated}))
    with pytest.raises(Refused, match=rf"boundary_ratio {stated!r} in model_index\.json is no sigma.*such as 0\.875"):
        fetching.fetch(str(tmp_path / "base"), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_two_experts_without_a_known_boundary(tmp_path, published):
    with pytest.raises(Refused, match="no boundary_ratio"):
        fetching.fetch(str(published), tmp_path / "base")


def test_a_text_encoder_of_another_width(tmp_path, published, family):
    root = copy(published, tmp_path)
    config = {**small.text_encoder_config(), "d_model": 40}
    small.write(root / "models_t5_umt5-xxl-enc-bf16.pth", "text_encoder", config, 7)
    with pytest.raises(Refused, match="takes embeddings of 32 numbers, the text encoder gives 40"):
        fetching.fetch(str(root), tmp_path / "base")


@pytest.mark.parametrize("file", [f"{HIGH}/diffusion_pytorch_model-00002-of-00002.safetensors", "Wan2.1_VAE.pth"])
def test_a_truncated_file(tmp_path, published, family, file):
    root = copy(published, tmp_path)
    whole = (root / file).read_bytes()
    (root / file).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(Refused, match="cut short"):
        fetching.fetch(str(root), tmp_path / "base")


def test_a_pickle(tmp_path, published, family):
    root = copy(published, tmp_path)
    torch.save({"a": functools.partial(print, "run")}, root / "Wan2.1_VAE.pth")
    with pytest.raises(Refused, match="holds more than tensors"):
        fetching.fetch(str(root), tmp_path / "base")


@pytest.mark.parametrize("source", ["none", "a/b/c", "/nowhere/at/all", "http://somewhere/model"])
def test_what_is_no_source(tmp_path, source):
    with pytest.raises(WrongUse):
        fetching.fetch(source, tmp_path / "base")
