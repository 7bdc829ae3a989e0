"""Sampling with two experts: what Wan-AI's own code draws with small seeded ones, ours draws too."""

import json
from pathlib import Path

import torch

from frostline import contract, experts, guidance, latents, transformer
from frostline import sampling as samplers
from tests.golden.wan import cases, small

PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_text())


@torch.inference_mode()
def test_two_experts_under_their_own_guidance(transformers):
    published = PUBLISHED["two experts"]
    told, null = (
        latents.pad([cases.normal((n, cases.TEXT), "two experts", which)], 512)
        for which, n in (("text", 77), ("null", 3))
    )
    process = contract.Process(shift=5.0, draws="uniform", patch_size=(1, 2, 2), expert_boundary=cases.BOUNDARY)
    high, low = (
        guidance.guided(
            transformer.velocity_fn(transformers[name], told, process),
            transformer.velocity_fn(transformers[name], null, process),
            scale,
        )
        for name, scale in zip(("high-noise", "low-noise"), cases.GUIDANCE, strict=True)
    )
    velocity = experts.routed(high, low, cases.BOUNDARY)
    noise = cases.normal((16, 2, 4, 4), "two experts", "noise")[None]
    found = samplers.sampler(small.sampling(5.0, 4)).sample(velocity, noise)
    assert cases.distance(published["sample"], found[0]) < 1e-5
    serves = experts.serves_high(torch.tensor(published["timesteps"]) / 1000, cases.BOUNDARY)
    assert ["high" if served else "low" for served in serves] == published["experts"]
