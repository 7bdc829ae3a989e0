"""Names in UMT5's encoder: native, and in transformers."""

import re

from frostline.wan.names import renaming

TIED = "encoder.embed_tokens.weight"  # the same tensor as shared.weight

_OUTSIDE = (("token_embedding", "shared"), ("norm", "encoder.final_layer_norm"))
_BLOCK = (
    ("norm1", "layer.0.layer_norm"),
    ("attn", "layer.0.SelfAttention"),
    ("pos_embedding.embedding", "layer.0.SelfAttention.relative_attention_bias"),
    ("norm2", "layer.1.layer_norm"),
    ("ffn.gate.0", "layer.1.DenseReluDense.wi_0"),
    ("ffn.fc1", "layer.1.DenseReluDense.wi_1"),
    ("ffn.fc2", "layer.1.DenseReluDense.wo"),
)
_BACK = sorted(renaming.swapped(_BLOCK), key=lambda pair: -len(pair[0]))  # the longer first: one begins with another


def to_diffusers(names: list[str]) -> dict[str, str]:
    """Native names to those of transformers."""
    return {name: _theirs(name) for name in names}


def to_native(names: list[str]) -> dict[str, str]:
    """Names of transformers to native ones."""
    return {name: _native(name) for name in names}


def _theirs(name: str) -> str:
    if block := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
        return f"encoder.block.{block[1]}.{renaming.begun(block[2], _BLOCK)}"
    return renaming.begun(name, _OUTSIDE)


def _native(name: str) -> str:
    if block := re.fullmatch(r"encoder\.block\.(\d+)\.(.+)", name):
        return f"blocks.{block[1]}.{renaming.begun(block[2], _BACK)}"
    return renaming.begun(name, renaming.swapped(_OUTSIDE))
