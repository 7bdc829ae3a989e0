"""What a part is: the keyword arguments of its class, from a config.json or from the shapes of its tensors.

Shapes are given by diffusers' names. Single files carry no configuration, so everything is read off their tensors.
What cannot be is known of the published models (the width of a head, the statistics of latents), else refused.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diffusers import AnyFlowTransformer3DModel, AutoencoderKLWan, WanTransformer3DModel

from frostline import networks
from frostline.errors import Refused
from frostline.wan import families, names
from frostline.weights import Shape

Config = dict[str, Any]
Shapes = Mapping[str, Shape]
METADATA = "frostline.config"  # of native files that were written here: the keyword arguments, as JSON
NATIVE_CLASS = "WanModel"  # in native config.json
NATIVE_KEYS = {
    "dim": lambda config: config["num_attention_heads"] * config["attention_head_dim"],
    "ffn_dim": lambda config: config["ffn_dim"],
    "freq_dim": lambda config: config["freq_dim"],
    "in_dim": lambda config: config["in_channels"],
    "out_dim": lambda config: config["out_channels"],
    "num_layers": lambda config: config["num_layers"],
}
"""Keys of a native config.json that the tensors' shapes say too."""


def of(part: names.Part, shapes: Shapes, stated: Config | None, origin: Path) -> Config:
    """The keyword arguments of a part's class; ``stated`` is the configuration beside its files, if there is one.

    Raises Refused if its files contradict one another.
    """
    if stated is not None and stated.get("_class_name") != NATIVE_CLASS:
        return completed(part, stated)
    try:
        found = _FROM_SHAPES[part](shapes)
    except KeyError as error:
        raise Refused(f"{origin}: without {error.args[0]!r}, so no {part} of a Wan model; fetch it again") from None
    if part != "transformer":
        return found
    return _with_published_heads(found, origin) if stated is None else _with_stated_heads(found, stated, origin)


def completed(part: names.Part, stated: Mapping[str, Any]) -> Config:
    """A configuration of diffusers or transformers with what older ones leave out: its class's own defaults."""
    config = {key: value for key, value in stated.items() if not key.startswith("_")}
    if part == "text_encoder":
        return config
    maps = stated.get("_class_name") == networks.FLOW_MAP
    transformer: Any = AnyFlowTransformer3DModel if maps else WanTransformer3DModel
    cls: Callable[..., Any] = AutoencoderKLWan.__init__ if part == "vae" else transformer.__init__
    accepted = inspect.signature(cls).parameters
    defaults = {key: value.default for key, value in accepted.items() if value.default is not inspect.Parameter.empty}
    said = {"_class_name": networks.FLOW_MAP} if maps else {}  # else it is a Wan transformer
    return {**defaults, **{key: value for key, value in config.items() if key in defaults}, **said}


def _with_published_heads(found: Config, origin: Path) -> Config:
    """A transformer with heads as wide as those of every published one."""
    width = found["num_attention_heads"] * found["attention_head_dim"]
    if width % families.HEAD_DIM:
        raise Refused(
            f"{origin}: a transformer of width {width}: published heads are {families.HEAD_DIM} wide, which does not "
            "divide it; give a folder with its config.json"
        )
    return {**found, "num_attention_heads": width // families.HEAD_DIM, "attention_head_dim": families.HEAD_DIM}


def _with_stated_heads(found: Config, stated: Mapping[str, Any], origin: Path) -> Config:
    """What shapes say, and what only a native config.json can; Refused where the two differ."""
    for key, of_shapes in NATIVE_KEYS.items():
        if key in stated and stated[key] != of_shapes(found):
            raise Refused(
                f"{origin}: its config.json says {key} {stated[key]}, its tensors {of_shapes(found)}; fetch both again"
            )
    missing = [key for key in ("num_heads", "eps") if key not in stated]
    if missing:
        raise Refused(f"{origin}: its config.json does not say {' and '.join(missing)}; fetch it again")
    heads = stated["num_heads"]
    return {
        **found,
        "num_attention_heads": heads,
        "attention_head_dim": NATIVE_KEYS["dim"](found) // heads,
        "eps": stated["eps"],
    }


def _layers(shapes: Shapes, prefix: str) -> int:
    """How many numbered modules there are behind a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})


def _transformer(shapes: Shapes) -> Config:
    width, in_channels, *patch = shapes["patch_embedding.weight"]
    ffn_dim, _ = shapes["blocks.0.ffn.net.0.proj.weight"]
    _, freq_dim = shapes["condition_embedder.time_embedder.linear_1.weight"]
    _, text_dim = shapes["condition_embedder.text_embedder.linear_1.weight"]
    image = shapes.get("condition_embedder.image_embedder.norm1.weight")
    added = shapes.get("blocks.0.attn2.add_k_proj.weight")
    positions = shapes.get("condition_embedder.image_embedder.pos_embed")
    return {
        "patch_size": patch,
        "num_attention_heads": 1,  # the shapes do not say: as if it had one
        "attention_head_dim": width,
        "in_channels": in_channels,
        "out_channels": shapes["proj_out.weight"][0] // math.prod(patch),
        "text_dim": text_dim,
        "freq_dim": freq_dim,
        "ffn_dim": ffn_dim,
        "num_layers": _layers(shapes, "blocks."),
        "cross_attn_norm": "blocks.0.norm2.weight" in shapes,
        "qk_norm": "rms_norm_across_heads",
        "eps": families.EPS,
        "image_dim": None if image is None else image[0],
        "added_kv_proj_dim": None if added is None else added[1],
        "rope_max_seq_len": families.ROPE_LENGTH,
        "pos_embed_seq_len": None if positions is None else positions[1],
    }


def _vae(shapes: Shapes) -> Config:
    z_dim, _, *_ = shapes["post_quant_conv.weight"]
    known = {vae.z_dim: vae for vae in (families.VAE_21, families.VAE_22)}
    if z_dim not in known:
        raise Refused(
            f"a VAE of {z_dim} channels: mean and deviation of its latents are not in its file, and only those of "
            f"{' and '.join(map(str, known))} channels are known; give a folder with its config.json"
        )
    base, in_channels, *_ = shapes["encoder.conv_in.weight"]
    levels = _levels(shapes)
    decoder = shapes["decoder.conv_in.weight"][0] // (levels[-1].width // base)
    patch = None if in_channels == families.VAE_21.in_channels else families.VAE_22.patch_size
    return {
        "base_dim": base,
        "decoder_base_dim": None if decoder == base else decoder,
        "z_dim": z_dim,
        "dim_mult": [level.width // base for level in levels],
        "num_res_blocks": levels[0].resnets,
        "attn_scales": [],
        "temperal_downsample": [level.halves_time for level in levels[:-1]],
        "dropout": 0.0,
        "latents_mean": list(known[z_dim].latents_mean),
        "latents_std": list(known[z_dim].latents_std),
        "is_residual": "encoder.down_blocks.0.resnets.0.norm1.gamma" in shapes,
        "in_channels": in_channels,
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "patch_size": patch,
        "scale_factor_temporal": 2 ** sum(level.halves_time for level in levels),
        "scale_factor_spatial": (patch or 1) * 2 ** (len(levels) - 1),
    }


class _Level:
    """Residual blocks of one width, with what halves the size behind them."""

    def __init__(self) -> None:
        self.width = 0
        self.resnets = 0
        self.halves_time = False


def _levels(shapes: Shapes) -> list[_Level]:
    """The levels of an encoder, from fine to coarse."""
    levels = [_Level()]
    for place in range(_layers(shapes, "encoder.down_blocks.")):
        block = f"encoder.down_blocks.{place}."
        inside = {name.removeprefix(block): shape for name, shape in shapes.items() if name.startswith(block)}
        resnets = [shape for name, shape in inside.items() if name.endswith("conv1.weight")]
        if resnets:
            levels[-1].width = resnets[0][0]
            levels[-1].resnets += len(resnets)
        if any("resample." in name for name in inside):
            levels[-1].halves_time = any("time_conv." in name for name in inside)
            levels.append(_Level())
    return levels


def _text_encoder(shapes: Shapes) -> Config:
    first = "encoder.block.0.layer."
    vocab_size, d_model = shapes["shared.weight"]
    buckets, heads = shapes[f"{first}0.SelfAttention.relative_attention_bias.weight"]
    d_ff, _ = shapes[f"{first}1.DenseReluDense.wi_0.weight"]
    return families.TextEncoder(
        vocab_size=vocab_size,
        d_model=d_model,
        d_kv=shapes[f"{first}0.SelfAttention.q.weight"][0] // heads,
        d_ff=d_ff,
        num_layers=_layers(shapes, "encoder.block."),
        num_heads=heads,
        relative_attention_num_buckets=buckets,
    ).config()


_FROM_SHAPES: dict[names.Part, Callable[[Shapes], Config]] = {
    "transformer": _transformer,
    "vae": _vae,
    "text_encoder": _text_encoder,
}
