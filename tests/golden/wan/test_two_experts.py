"""Sampling with two experts: Wan-AI's own code, the stock pipeline and ours draw the same with small seeded ones."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline

from frostline import codec, contract, experts, latents, path, velocities
from frostline import sampling as samplers
from tests.golden.wan import cases, small

PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_text())


def texts() -> list[torch.Tensor]:
    """A prompt and a null prompt, embedded and padded."""
    lengths = {"text": 77, "null": 3}
    return [latents.pad([cases.normal((n, cases.TEXT), "two experts", which)], 512) for which, n in lengths.items()]


def velocity(transformers) -> path.VelocityFn:
    """Both experts, each under its own guidance."""
    told, null = texts()
    process = contract.Process(shift=5.0, draws="uniform", patch_size=(1, 2, 2), expert_boundary=cases.BOUNDARY)
    high, low = cases.GUIDANCE
    second = velocities.Low(network=transformers["low-noise"], guidance=low, boundary=cases.BOUNDARY)
    return velocities.sampled(transformers["high-noise"], high, second, process=process, text=told, away=null)


@torch.inference_mode()
def test_wan_ais_own_code_draws_the_same(transformers):
    published = PUBLISHED["two experts"]
    noise = cases.normal((16, 2, 4, 4), "two experts", "noise")[None]
    found = samplers.sampler(small.sampling(5.0, 4)).sample(velocity(transformers), noise)
    assert cases.distance(published["sample"], found[0]) < 1e-5
    serves = experts.serves_high(torch.tensor(published["timesteps"]) / 1000, cases.BOUNDARY)
    assert ["high" if served else "low" for served in serves] == published["experts"]


@torch.inference_mode()
def test_the_stock_pipeline_draws_the_same(tmp_path, transformers, tiny_base):
    opened = codec.Codec(tiny_base)
    vae = small.load(small.write(tmp_path / "vae.pth", "vae", small.vae_config("2.1"), cases.VAES["2.1"]["seed"]))
    stock = samplers.unipc_scheduler(solver_order=2, shift=5.0)
    pipeline = WanPipeline(
        tokenizer=opened.tokenizer,
        text_encoder=opened.text_encoder,
        vae=vae,
        scheduler=stock,
        transformer=transformers["high-noise"],
        transformer_2=transformers["low-noise"],
        boundary_ratio=cases.BOUNDARY,
    )
    pipeline.set_progress_bar_config(disable=True)
    told, null = texts()
    noise = cases.normal((1, 16, 2, 4, 4), "stock", "noise")
    high, low = cases.GUIDANCE
    made: Any = pipeline(
        prompt_embeds=told,
        negative_prompt_embeds=null,
        latents=noise,
        num_frames=5,
        height=32,
        width=32,
        num_inference_steps=6,
        guidance_scale=high,
        guidance_scale_2=low,
        output_type="latent",
    )
    record = small.sampling(5.0, 6).model_copy(update={"sampler": "unipc"})
    ours = samplers.sampler(record).sample(velocity(transformers), noise)
    assert torch.linalg.norm(ours - made.frames) < 1e-4 * torch.linalg.norm(made.frames)
