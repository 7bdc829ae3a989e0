"""A transformer as one safetensors file of native names, as Wan-AI publishes it and ComfyUI's loader takes it.

ComfyUI reads no configuration: it takes the shapes of tensors, and for the rest what the published models have. So a
transformer of other heads, patches or embeddings can be written, but not loaded there, and that is said.
"""

from pathlib import Path
from typing import Any

from diffusers import WanTransformer3DModel

from frostline import digests
from frostline.contract import METADATA, Contract
from frostline.wan import configs, families, rewriting

ASSUMED: dict[str, Any] = {
    "attention_head_dim": families.HEAD_DIM,
    "patch_size": (1, 2, 2),
    "freq_dim": 256,
    "text_dim": 4096,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": families.EPS,
}
"""What ComfyUI's loader takes for granted."""


def write(transformer: WanTransformer3DModel, contract: Contract | None, path: Path) -> list[str]:
    """Write the file, with the contract in its metadata; returns why ComfyUI would not load it, if it would not."""
    config = {key: value for key, value in dict(transformer.config).items() if not key.startswith("_")}
    metadata = {configs.METADATA: digests.canonical(config)}
    if contract is not None:
        metadata[METADATA] = digests.canonical(contract.model_dump(mode="json"))
    rewriting.to_native("transformer", transformer.state_dict(), path, metadata)
    return unlike_comfyui(config)


def unlike_comfyui(config: dict[str, Any]) -> list[str]:
    """Where a transformer is not what ComfyUI's loader takes for granted: a line each, none if it loads there."""
    stated = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    return [f"{key} is {stated[key]}, not {value}" for key, value in ASSUMED.items() if stated[key] != value]
