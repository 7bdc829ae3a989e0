"""The frozen parts of a base by their configurations alone: sizes and shapes, no weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKLWan
from transformers import UMT5Config, UMT5EncoderModel

from frostline import files
from frostline.contract import LatentSpace
from frostline.errors import WrongUse
from frostline.params import CacheParams
from frostline.wan import configs, families
from frostline.wan.families import Family

UNREAD = "not read"  # in the place of digests: an estimate asks for no weights
PUBLISHED_DTYPE: Literal["bfloat16"] = "bfloat16"  # of the text encoder of every published model


@dataclass(frozen=True, kw_only=True)
class Base:
    """A VAE and a text encoder without weights, and the latents and texts they would make."""

    origin: str
    space: LatentSpace  # its digests are those of no file
    vae: AutoencoderKLWan  # on the meta device
    text: UMT5Config
    text_parameters: int

    @property
    def vae_parameters(self) -> int:
        """How many numbers the VAE has."""
        return sum(p.numel() for p in self.vae.parameters())


def of_folder(folder: Path, cache: CacheParams) -> Base:
    """The base of a folder in the layout of diffusers; raises WrongUse naming what is not there."""
    for part in ("vae", "text_encoder"):
        if not (folder / part / "config.json").is_file():
            known = ", ".join(family.name for family in families.FAMILIES)
            raise WrongUse(
                f"{folder / part / 'config.json'}: missing; `frostline fetch` brings a base, and --family estimates "
                f"with the published configurations in its place: {known}"
            )
    vae = configs.completed("vae", files.read_json(folder / "vae" / "config.json"))
    text = files.read_json(folder / "text_encoder" / "config.json")
    rounded = "bfloat16" in (text.get("dtype"), text.get("torch_dtype"))
    return _base(str(folder), vae, text, _text_length(folder), "bfloat16" if rounded else "float32", cache)


def of_family(family: Family, cache: CacheParams) -> Base:
    """The base of a published model."""
    config = family.text_encoder.config()
    return _base(family.name, family.vae.config(), config, families.TEXT_LENGTH, PUBLISHED_DTYPE, cache)


def family(name: str) -> Family:
    """A published model by its name; raises WrongUse for one that is not known."""
    found = {one.name: one for one in families.FAMILIES}
    if name not in found:
        raise WrongUse(f"--family {name}: known are {', '.join(found)}")
    return found[name]


def _text_length(folder: Path) -> int:
    """What the tokenizer says; where it says none, what every published transformer sees."""
    path = folder / "tokenizer" / "tokenizer_config.json"
    stated = files.read_json(path).get("model_max_length") if path.is_file() else None
    return int(stated) if stated is not None and stated < 1e6 else families.TEXT_LENGTH  # 1e30 stands for no limit


def _base(
    origin: str,
    vae: dict[str, Any],
    text: dict[str, Any],
    text_length: int,
    text_dtype: Literal["float32", "bfloat16"],
    cache: CacheParams,
) -> Base:
    config = UMT5Config(**text)
    with torch.device("meta"):
        module: Any = AutoencoderKLWan.from_config(vae)
        encoder = UMT5EncoderModel(config)
    space = LatentSpace(
        vae_digest=UNREAD,
        z_dim=vae["z_dim"],
        latents_mean=tuple(vae["latents_mean"]),
        latents_std=tuple(vae["latents_std"]),
        spatial_stride=vae["scale_factor_spatial"],
        temporal_stride=vae["scale_factor_temporal"],
        encode_dtype=cache.encode_dtype,
        stored_dtype=cache.stored_dtype,
        text_encoder_digest=UNREAD,
        text_dim=config.d_model,
        text_length=text_length,
        text_stored_dtype=text_dtype,
    )
    return Base(
        origin=origin,
        space=space,
        vae=module.eval(),
        text=config,
        text_parameters=sum(p.numel() for p in encoder.parameters()),
    )
