"""Names in transformers: by diffusers' own converter from native ones, and by ours back."""

import re

from diffusers.loaders import single_file_utils

from frostline.wan.names import renaming

_OUTSIDE = (
    ("scale_shift_table", "head.modulation"),
    ("proj_out", "head.head"),
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("condition_embedder.image_embedder.norm1", "img_emb.proj.0"),
    ("condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"),
    ("condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"),
    ("condition_embedder.image_embedder.norm2", "img_emb.proj.4"),
)
_PROJECTIONS = (
    ("to_q", "q"),
    ("to_k", "k"),
    ("to_v", "v"),
    ("to_out.0", "o"),
    ("add_k_proj", "k_img"),
    ("add_v_proj", "v_img"),
    ("norm_added_k", "norm_k_img"),
)
_BLOCK = (
    ("scale_shift_table", "modulation"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
    ("norm2", "norm3"),
    *((f"attn1.{theirs}", f"self_attn.{native}") for theirs, native in _PROJECTIONS),
    *((f"attn2.{theirs}", f"cross_attn.{native}") for theirs, native in _PROJECTIONS),
    ("attn1", "self_attn"),
    ("attn2", "cross_attn"),
)
_MATRICES = re.compile(
    r"proj_out|condition_embedder\.(time_proj|(time|text)_embedder\.linear_[12]|image_embedder\.ff\.net\.(0\.proj|2))"
    r"|blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0|add_[kv]_proj)|ffn\.net\.(0\.proj|2))"
)


def is_matrix(module: str) -> bool:
    """Whether diffusers' name of a module is that of a matrix in a Wan transformer, so that a LoRA can change it."""
    return _MATRICES.fullmatch(module) is not None


def to_diffusers(names: list[str]) -> dict[str, str]:
    """Native names to diffusers' names."""
    return renaming.inverted(single_file_utils.convert_wan_transformer_to_diffusers({name: name for name in names}))


def to_native(names: list[str]) -> dict[str, str]:
    """Diffusers' names, of tensors or of the modules that hold them, to native names."""
    return {name: _native(name) for name in names}


def _native(name: str) -> str:
    if block := re.fullmatch(r"(blocks\.\d+)\.(.+)", name):
        return f"{block[1]}.{renaming.begun(block[2], _BLOCK)}"
    return renaming.begun(name, _OUTSIDE)
