"""What Wan-AI's own code made of small seeded models, ours makes of the same files: within 1e-5, in float32."""

import json
from pathlib import Path

import pytest
import torch

from frostline import codec, latents, sampling
from tests import tiny
from tests.golden.wan import cases, small

PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_text())
TOLERANCE = 1e-5


def text(name: str, tokens: int) -> torch.Tensor:
    return latents.pad([cases.normal((tokens, cases.TEXT), name, "text", tokens)], 512)


@torch.inference_mode()
def velocity(network, name: str, frames: int, tokens: int, timestep: torch.Tensor) -> torch.Tensor:
    channels, _ = cases.TRANSFORMERS[name]["channels"]
    noised = cases.normal((channels, frames, 4, 4), name, "x", frames)[None]
    clip = cases.normal((1, 257, 1280), name, "clip") if cases.TRANSFORMERS[name]["image"] else None
    return network(noised, timestep, text(name, tokens), clip, return_dict=False)[0][0]


@pytest.mark.parametrize("tokens", cases.TOKENS)
@pytest.mark.parametrize("frames", cases.FRAMES)
@pytest.mark.parametrize("name", cases.TRANSFORMERS)
def test_transformers(transformers, name, frames, tokens):
    timestep = cases.TIMESTEPS[cases.TOKENS.index(tokens)]
    key = f"{name}, {frames} frames, {tokens} tokens, timestep {timestep:g}"
    found = velocity(transformers[name], name, frames, tokens, torch.tensor([timestep]))
    assert cases.distance(PUBLISHED["transformer"][key], found) < TOLERANCE
    if name == "5b":
        known = torch.full((1, frames * 4), timestep)
        known[:, :4] = 0
        found = velocity(transformers[name], name, frames, tokens, known)
        assert cases.distance(PUBLISHED["transformer"][f"{key}, first frame known"], found) < TOLERANCE


@pytest.mark.parametrize("frames", cases.FRAMES)
def test_the_code_of_both_releases_is_one_transformer(transformers, frames):
    key = f"high-noise by 2.1, {frames} frames, 77 tokens, timestep 875"
    found = velocity(transformers["high-noise"], "high-noise", frames, 77, torch.tensor([875.0]))
    assert cases.distance(PUBLISHED["transformer"][key], found) < TOLERANCE


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("version", cases.VAES)
def test_vaes(tmp_path, version, suffix):
    config = small.vae_config(version)
    file = small.write(tmp_path / f"vae{suffix}", "vae", config, cases.VAES[version]["seed"], stated=False)
    vae = small.load(file)
    assert {key: vae.config[key] for key in config} == config  # read off the shapes
    space = tiny.space(
        z_dim=config["z_dim"], latents_mean=tuple(config["latents_mean"]), latents_std=tuple(config["latents_std"])
    )
    for frames in cases.PIXEL_FRAMES:
        video = cases.uniform((1, 3, frames, cases.SIDE, cases.SIDE), version, "pixels", frames)
        with torch.inference_mode():
            encoded = latents.normalise(vae.encode(video).latent_dist.mean, space)
            made = cases.normal(tuple(encoded.shape), version, "latents", frames)
            decoded = vae.decode(latents.denormalise(made, space)).sample
        assert cases.distance(PUBLISHED["vae"][f"{version}, {frames} frames, encoded"], encoded) < TOLERANCE
        kept = PUBLISHED["vae"][f"{version}, {frames} frames, decoded"]
        assert cases.distance(kept, decoded) < TOLERANCE


@pytest.mark.parametrize("tokens", cases.TOKENS)
def test_text_encoder(tmp_path, tokens):
    encoder = small.load(
        small.write(tmp_path / "t5.pth", "text_encoder", small.text_encoder_config(), cases.TEXT_ENCODER["seed"])
    )
    vocabulary = cases.TEXT_ENCODER["vocab"]
    ids = ((cases.uniform((1, 512), "ids", tokens) + 1) / 2 * vocabulary).long().clamp(0, vocabulary - 1)
    mask = (torch.arange(512) < tokens).long()[None]
    with torch.inference_mode():
        found = encoder(ids, mask).last_hidden_state[0, :tokens]
    assert cases.distance(PUBLISHED["text_encoder"][f"{tokens} tokens"], found) < TOLERANCE


@pytest.mark.parametrize(("steps", "shift"), cases.SAMPLINGS)
def test_sampler(steps, shift):
    published = PUBLISHED["unipc"][f"{steps} steps, shift {shift:g}"]
    told: list[float] = []

    def velocity(noised: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        told.append(1000 * sigma.item())
        return cases.toy_velocity(noised, told[-1])

    sampler = sampling.sampler(small.sampling(shift, steps))
    found = sampler.sample(velocity, cases.normal((1, 4, 2, 4, 4), "unipc", steps))
    assert told == pytest.approx(published["timesteps"], abs=1e-9)
    assert sampler.sigmas(steps, shift).tolist() == pytest.approx(published["sigmas"], abs=1e-7)
    assert cases.distance(published["sample"], found) < TOLERANCE


@pytest.mark.parametrize("number", range(len(cases.PROMPTS)))
def test_prompts_are_cleaned_alike(number):
    assert codec.clean(cases.PROMPTS[number]) == PUBLISHED["prompts"][f"{number:02d}"]
