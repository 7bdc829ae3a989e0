"""A ComfyUI workflow in its API format: nodes by number, each with its class and inputs; a link is [node, output].

Class and input names are those of ComfyUI's stock nodes (nodes.py and comfy_extras/); tests hold them against a record.
"""

from collections.abc import Sequence
from typing import Any

from frostline.wan.comfyui import Setup

TEXT_ENCODER = "umt5_xxl_fp16.safetensors"  # as ComfyUI's own examples call it
VAES = {16: "wan_2.1_vae.safetensors", 48: "wan2.2_vae.safetensors"}
PROMPT = "what to draw"
SEED = 0

Node = dict[str, Any]
Link = list[str | int]
SCHEDULER = "simple"


class Graph:
    """Nodes as they are added; each is known by the link to its first output."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def add(self, kind: str, title: str, **inputs: Any) -> Link:
        """Add a node; returns the link to its first output."""
        number = str(len(self.nodes) + 1)
        self.nodes[number] = {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}
        return [number, 0]


def build(setup: Setup, files: Sequence[str]) -> dict[str, Node]:
    """The workflow that samples the transformers in these files, the high-noise expert's first."""
    graph = Graph()
    clip = graph.add("CLIPLoader", "text encoder", clip_name=TEXT_ENCODER, type="wan", device="default")
    vae = graph.add("VAELoader", "VAE", vae_name=VAES[setup.z_dim])
    positive = graph.add("CLIPTextEncode", "prompt", text=PROMPT, clip=clip)
    negative = graph.add("CLIPTextEncode", "negative prompt", text=setup.negative, clip=clip)
    models = [_model(graph, file, setup.shift) for file in files]
    between = {"positive": positive, "negative": negative}
    sampled = _sampled(graph, setup, models, between, _latents(graph, setup, vae))
    images = graph.add("VAEDecode", "decode", samples=sampled, vae=vae)
    _save(graph, setup, images)
    return graph.nodes


def _model(graph: Graph, file: str, shift: float) -> Link:
    loaded = graph.add("UNETLoader", file, unet_name=file, weight_dtype="default")
    return graph.add("ModelSamplingSD3", "shift", model=loaded, shift=shift)


def _latents(graph: Graph, setup: Setup, vae: Link) -> Link:
    frames, height, width = setup.bucket
    size = {"width": width, "height": height, "length": frames, "batch_size": 1}
    if setup.z_dim == 48:
        return graph.add("Wan22ImageToVideoLatent", "size", vae=vae, **size)
    return graph.add("EmptyHunyuanLatentVideo", "size", **size)


def _sampled(graph: Graph, setup: Setup, models: Sequence[Link], text: dict[str, Link], latents: Link) -> Link:
    title = "; ".join(("sample", *setup.notes))
    if setup.change is None and setup.sigmas is None and setup.sampler != "uni_pc":
        [model], [guidance] = models, setup.guidance
        own = {"sampler_name": setup.sampler, "scheduler": SCHEDULER, "steps": setup.steps, "denoise": 1.0}
        return graph.add("KSampler", title, model=model, seed=SEED, cfg=guidance, latent_image=latents, **own, **text)
    sigmas = _sigmas(graph, setup, models[0])
    common = {"sampler": graph.add("KSamplerSelect", "sampler", sampler_name=setup.sampler), "noise_seed": SEED, **text}
    for place, (model, guidance, part) in enumerate(zip(models, setup.guidance, sigmas, strict=True)):
        own = {"add_noise": place == 0, "cfg": guidance, "sigmas": part, "latent_image": latents}
        latents = graph.add("SamplerCustom", title, model=model, **own, **common)
    return latents


def _sigmas(graph: Graph, setup: Setup, model: Link) -> list[Link]:
    """The sigmas of each transformer."""
    if setup.sigmas is not None:
        listed = ", ".join(f"{sigma:.9f}" for sigma in setup.sigmas)  # the node knows no exponents
        sigmas = graph.add("ManualSigmas", "the sigmas it was trained at", sigmas=listed)
    else:
        steps = {"steps": setup.steps, "denoise": 1.0}
        sigmas = graph.add("BasicScheduler", "steps", model=model, scheduler=SCHEDULER, **steps)
    if setup.change is None:
        return [sigmas]
    number, _ = graph.add("SplitSigmas", "high noise, low noise", sigmas=sigmas, step=setup.change)
    return [[number, 0], [number, 1]]


def _save(graph: Graph, setup: Setup, images: Link) -> None:
    if setup.bucket[0] == 1:
        graph.add("SaveImage", "save", images=images, filename_prefix="frostline")
        return
    fine = {"lossless": False, "quality": 90, "method": "default"}
    graph.add("SaveAnimatedWEBP", "save", images=images, filename_prefix="frostline", fps=float(setup.fps), **fine)
