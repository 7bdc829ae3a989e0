"""Wan transformers: made, started from another's layers, and read as a velocity.

This is the only module that hands a network its timestep, or its two: a flow map is diffusers' AnyFlow transformer, a
Wan transformer that is also told the sigma it is to go to.

Shapes: noised, velocity (B, C, T, H, W) in latent units; sigma, end (B,); text (B, L, D), zeros after each true length.
Reference: Wan: Open and Advanced Large-Scale Video Generative Models, arXiv:2503.20314; initialisation as in its
published code (Xavier matrices, normal(0.02) embedders, a zero head).
"""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from diffusers import AnyFlowTransformer3DModel, WanTransformer3DModel
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from frostline import continuation, diffusion, networks, randomness
from frostline.contract import LatentSpace, Process
from frostline.errors import WrongUse
from frostline.networks import FLOW_MAP, Transformer
from frostline.params.trainings import ModelParams
from frostline.path import VelocityFn

EMBEDDER_STD = 0.02
END_EMBEDDER, TIME_EMBEDDER = "delta_embedder", "time_embedder"  # of the sigma gone to, and of the one come from
END_SHARE = 0.25  # of the embedded end in what a flow map's blocks are told


def create(shape: ModelParams, space: LatentSpace, *, seed: int) -> WanTransformer3DModel:
    """A freshly initialised transformer for one latent space; the global random state stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.seed("transformer", seed))
        model = WanTransformer3DModel(
            patch_size=shape.patch_size,
            num_attention_heads=shape.heads,
            attention_head_dim=shape.head_dim,
            in_channels=space.z_dim,
            out_channels=space.z_dim,
            text_dim=space.text_dim,
            ffn_dim=shape.ffn_dim,
            num_layers=shape.layers,
        )
        _initialise(model)
    return model


def _initialise(model: WanTransformer3DModel) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(model.patch_embedding.weight.view(model.patch_embedding.out_channels, -1))
    for embedder in (model.condition_embedder.time_embedder, model.condition_embedder.text_embedder):
        for linear in (embedder.linear_1, embedder.linear_2):
            nn.init.normal_(linear.weight, std=EMBEDDER_STD)
    nn.init.zeros_(model.proj_out.weight)


def from_layers(teacher: WanTransformer3DModel, layers: Sequence[int]) -> tuple[WanTransformer3DModel, dict[str, str]]:
    """A transformer of the teacher's width that starts from some of its layers.

    Returns it with the teacher's tensor that each of its tensors came from.
    Raises WrongUse for a layer the teacher does not have.
    """
    depth = teacher.config["num_layers"]
    wrong = [layer for layer in layers if not 0 <= layer < depth]
    if wrong or not layers:
        raise WrongUse(f"layers {list(layers)}: the teacher has layers 0 to {depth - 1}; name at least one of these")
    student = cast(WanTransformer3DModel, _blank({**teacher.config, "num_layers": len(layers)}))
    weights = teacher.state_dict()
    sources = {name: _source(name, layers) for name in student.state_dict()}
    student.load_state_dict({name: weights[source] for name, source in sources.items()}, strict=True)
    return student, sources


def flow_map_from_layers(
    teacher: WanTransformer3DModel, layers: Sequence[int]
) -> tuple[AnyFlowTransformer3DModel, dict[str, str]]:
    """A flow map that starts from some of the teacher's layers, and what each of its tensors came from.

    What embeds the end starts as what embeds time, so that from a sigma to itself it is the velocity it starts from.
    Raises WrongUse for a layer the teacher does not have, and for a shape that flow maps do not have.
    """
    start, sources = from_layers(teacher, layers)
    config = dict(start.config)
    frames, height, width = config["patch_size"]
    if frames != 1 or height != width or config["image_dim"] is not None:
        raise WrongUse(
            f"a flow map takes square patches of one latent frame and no image, and the teacher has {height}x{width} "
            f"patches of {frames} frame(s) and image_dim {config['image_dim']}: distil a velocity from it"
        )
    taken = set(inspect.signature(AnyFlowTransformer3DModel.__init__).parameters)
    shared = {name: value for name, value in config.items() if name in taken}
    network = _blank({**shared, "_class_name": FLOW_MAP, "gate_value": END_SHARE, "deltatime_type": "r"})
    sources |= {name: sources[_timed(name)] for name in network.state_dict() if name not in sources}
    weights = start.state_dict()
    network.load_state_dict({name: weights[_timed(name)] for name in network.state_dict()}, strict=True)
    return cast(AnyFlowTransformer3DModel, network), sources


def _timed(name: str) -> str:
    """Where what embeds an end comes from."""
    return name.replace(END_EMBEDDER, TIME_EMBEDDER)


def _source(name: str, layers: Sequence[int]) -> str:
    return re.sub(r"^blocks\.(\d+)\.", lambda found: f"blocks.{layers[int(found[1])]}.", name)


def velocity_fn(model: nn.Module, text: Tensor, process: Process, context: Tensor | None = None) -> VelocityFn:
    """The network under one batch of texts (B, L, D) as a function of (noised, sigma).

    A context (B, C, k, H, W) is what the network sees first, whatever is noised there, and it does not move.
    A flow map is a FlowMapFn, which is asked for an end too; without one it says its velocity at sigma.
    """
    prediction = process.prediction
    if prediction == "mean_velocity":
        return flow_map_fn(model, text, process)

    if prediction == "velocity":
        return lambda noised, sigma: continuation.still(
            predicted(model, noised, sigma, text, process, context), context
        )

    def velocity(noised: Tensor, sigma: Tensor) -> Tensor:
        asked = diffusion.within(sigma, process)
        said = predicted(model, diffusion.diffused(noised, asked), asked, text, process, context)
        found = diffusion.velocity(noised, said, asked, prediction)
        return continuation.still(diffusion.beyond(found, noised, sigma, process), context)

    return velocity


def flow_map_fn(model: nn.Module, text: Tensor, process: Process) -> Callable[..., Tensor]:
    """The network under one batch of texts as a function of (noised, sigma, end): a FlowMapFn."""

    def mean_velocity(noised: Tensor, sigma: Tensor, end: Tensor | None = None) -> Tensor:
        frames, dtype = noised.shape[2], _taken(model, noised)
        told, gone_to = (
            timestep(at, process)[:, None].expand(-1, frames) for at in (sigma, sigma if end is None else end)
        )
        given = noised.to(dtype).transpose(1, 2)  # it takes (B, T, C, H, W)
        found = model(given, told, gone_to, text.to(dtype), return_dict=False)[0]
        return found.transpose(1, 2).to(noised.dtype)

    return mean_velocity


def predicted(
    model: nn.Module, given: Tensor, sigma: Tensor, text: Tensor, process: Process, context: Tensor | None = None
) -> Tensor:
    """What the network says of latents as it knows them, at sigma (B,): whatever it learned to predict."""
    told, dtype = timestep(sigma, process), _taken(model, given)
    if context is not None:
        given, clean = continuation.held(given, context), timestep(torch.zeros_like(sigma), process)
        told = continuation.timesteps(told, clean, given.shape, context.shape[2], process.patch_size)
    return model(given.to(dtype), told, text.to(dtype), return_dict=False)[0].to(given.dtype)


def _taken(model: nn.Module, given: Tensor) -> torch.dtype:
    """The dtype a network is given latents and texts in: its own, but that sharded ones cast at their door."""
    if not isinstance(model, Transformer) or isinstance(model.patch_embedding.weight, DTensor):
        return given.dtype
    return model.patch_embedding.weight.dtype


def timestep(sigma: Tensor, process: Process) -> Tensor:
    """What the network takes for sigma (B,): float32, made in float64."""
    if process.diffusion is not None:
        return diffusion.timestep(sigma, process.diffusion).float()
    return (sigma.double() * process.timestep_scale).float()


def parameters(model: nn.Module) -> dict[str, int]:
    """Counts of trainable and all parameters."""
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"trainable": sum(n for n, grad in counts if grad), "all": sum(n for n, _ in counts)}


def from_state(config: dict[str, Any], weights: dict[str, Tensor]) -> Transformer:
    """A transformer of a configuration with exactly these weights; torch raises on a missing or unexpected tensor."""
    model = _blank(config)
    model.load_state_dict(weights, strict=True, assign=True)
    return model


def _blank(config: dict[str, Any]) -> Transformer:
    """A transformer whose weights will be replaced; what it drew for them does not move the global random state."""
    with torch.random.fork_rng(devices=[]):
        return networks.of_config(config)
