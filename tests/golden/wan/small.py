"""The small models of ``cases`` as files in Wan-AI's layout, loaded by the doors every model goes through."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

from frostline import contract, digests, weights
from frostline.wan import configs, families, layouts, loading, names
from frostline.wan.names import text_encoder as text_names
from tests.golden.wan import cases


def transformer_config(name: str) -> dict[str, Any]:
    """The keyword arguments of one of the small transformers."""
    taken, given = cases.TRANSFORMERS[name]["channels"]
    image = 1280 if cases.TRANSFORMERS[name]["image"] else None
    published = families.Transformer(
        heads=cases.HEADS,
        ffn_dim=cases.FFN,
        layers=cases.LAYERS,
        in_channels=taken,
        out_channels=given,
        image_dim=image,
        text_dim=cases.TEXT,
        freq_dim=cases.FREQ,
    ).config()
    added = None if image is None else cases.WIDTH
    return {**published, "attention_head_dim": cases.WIDTH // cases.HEADS, "added_kv_proj_dim": added}


def vae_config(version: str) -> dict[str, Any]:
    """The keyword arguments of one of the small VAEs."""
    published = families.VAE_21 if version == "2.1" else families.VAE_22
    case = cases.VAES[version]
    decoder = None if case["decoder"] == case["dim"] else case["decoder"]
    return {**published.config(), "base_dim": case["dim"], "decoder_base_dim": decoder}


def text_encoder_config() -> dict[str, Any]:
    """The keyword arguments of the small text encoder."""
    case = cases.TEXT_ENCODER
    return families.TextEncoder(
        vocab_size=case["vocab"],
        d_model=case["dim"],
        d_kv=case["attention"] // case["heads"],
        d_ff=case["ffn"],
        num_layers=case["layers"],
        num_heads=case["heads"],
        relative_attention_num_buckets=case["buckets"],
    ).config()


def empty(part: names.Part, config: dict[str, Any]) -> nn.Module:
    """A part without values."""
    with torch.device("meta"):
        if part == "transformer":
            return WanTransformer3DModel.from_config(config)  # pyright: ignore[reportReturnType]
        if part == "vae":
            return AutoencoderKLWan.from_config(config)  # pyright: ignore[reportReturnType]
        return UMT5EncoderModel(UMT5Config(**config))


def native(part: names.Part, config: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Seeded tensors of a part by native names."""
    shapes = {name: tuple(t.shape) for name, t in empty(part, config).state_dict().items() if name != text_names.TIED}
    return {new: cases.weight(seed, new, shapes[name]) for name, new in names.to_native(part, shapes).items()}


def write(path: Path, part: names.Part, config: dict[str, Any], seed: int, *, stated: bool = True) -> Path:
    """Seeded tensors of a part as one file, .safetensors or .pth by the path, with its configuration if asked for."""
    tensors = native(part, config, seed)
    if path.suffix == ".pth":
        torch.save(tensors, path)
        return path
    kinds = {name: weights.Kind(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    metadata = {configs.METADATA: digests.canonical(config)} if stated else {}
    weights.write(path, kinds, tensors.__getitem__, metadata)
    return path


def load(path: Path) -> Any:
    """A part from one file, in float32."""
    [source] = layouts.found(path).sources.values()
    return loading.load(source, torch.float32)


def sampling(shift: float, steps: int) -> contract.Sampling:
    """How a published model is sampled by the code it was published with."""
    return contract.Sampling(
        sampler="wan_unipc",
        rounds_timesteps=True,
        steps=steps,
        allowed_steps=None,
        shift=shift,
        allowed_shifts=None,
        sigmas=None,
        guidance=1.0,
        guidance_form="external",
        teacher_digest=None,
    )
