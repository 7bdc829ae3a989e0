"""Parts that belong together, and those that do not: told from configurations alone, before a tensor is read."""

from collections.abc import Mapping
from typing import Any

from frostline.errors import Refused
from frostline.wan import families
from frostline.wan.configs import Config
from frostline.wan.layouts import EXPERTS, Layout, Role

MASK = 4  # channels of an image-to-video model that say which frames are given, beside those frames' latents
REMEDY = "take all parts from one repository"


def require(parts: Mapping[Role, Config], *, where: str) -> None:
    """Raise Refused, with the reason, if parts do not belong together."""
    experts = [parts[role] for role in ("transformer", "transformer_2") if role in parts]
    if len(experts) == 2:
        _require_alike(experts[0], experts[1], where)
    for transformer in experts:
        if "vae" in parts:
            _require_channels(transformer, parts["vae"], where)
        if "text_encoder" in parts and transformer["text_dim"] != parts["text_encoder"]["d_model"]:
            raise Refused(
                f"{where}: the transformer takes embeddings of {transformer['text_dim']} numbers, the text encoder "
                f"gives {parts['text_encoder']['d_model']}; {REMEDY}"
            )


def _require_alike(high: Config, low: Config, where: str) -> None:
    other = sorted(key for key in high.keys() | low.keys() if high.get(key) != low.get(key))
    if other:
        lines = ", ".join(f"{key} {high.get(key)} and {low.get(key)}" for key in other)
        raise Refused(f"{where}: the high-noise and the low-noise expert differ in {lines}; {REMEDY}")


def _require_channels(transformer: Config, vae: Config, where: str) -> None:
    taken, given, channels = transformer["in_channels"], transformer["out_channels"], vae["z_dim"]
    if given != channels:
        raise Refused(
            f"{where}: the transformer was trained on latents of {given} channels{_whose(given)}, the VAE makes "
            f"{channels}{_whose(channels)}; {REMEDY}"
        )
    if taken not in (channels, 2 * channels + MASK):
        raise Refused(
            f"{where}: the transformer takes {taken} channels; with this VAE that is {channels}, or "
            f"{2 * channels + MASK} of image-to-video; {REMEDY}"
        )


def _whose(channels: int) -> str:
    known = {families.VAE_21.z_dim: " (as of Wan2.1's VAE)", families.VAE_22.z_dim: " (as of Wan2.2's VAE)"}
    return known.get(channels, "")


def require_order(layout: Layout) -> None:
    """Raise Refused if names say that the two experts stand in each other's place.

    Both experts have one configuration and tensors of the same names and shapes: only what they are called, and once
    fetched their digests, tells one from the other.
    """
    others_of: dict[Role, str] = {"transformer": EXPERTS["transformer_2"], "transformer_2": EXPERTS["transformer"]}
    for role, others in others_of.items():
        source = layout.sources.get(role)
        if source is None or "transformer_2" not in layout.sources:
            continue
        for file in source.files:
            named = [_plain(name) for name in (file.name, file.resolve().parent.name, file.resolve().name)]
            if any(_plain(others).removesuffix("model") in name for name in named):
                raise Refused(
                    f"{file}: named after the {others.removesuffix('_model').replace('_', '-')} expert, but in the "
                    f"place of the other; swap the two"
                )


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def boundary(layout: Layout, family: families.Family | None, *, where: str) -> float | None:
    """The sigma from which the high-noise expert serves, as the folder or its family says; None for one expert.

    Raises Refused if there are two experts and nobody says where one takes over from the other.
    """
    if "transformer_2" not in layout.sources:
        return None
    stated: Any = layout.index.get("boundary_ratio")
    known = family.expert_boundary if family else None
    if stated is None and known is None:
        raise Refused(
            f"{where}: two experts, but no boundary_ratio in model_index.json and no published model of this shape: "
            "write there from which sigma on the high-noise expert serves"
        )
    return known if stated is None else _between(stated, where)


def _between(stated: object, where: str) -> float:
    if isinstance(stated, int | float) and 0 < stated < 1:
        return float(stated)
    raise Refused(
        f"{where}: boundary_ratio {stated!r} in model_index.json is no sigma between 0 and 1: write there from which "
        "sigma on the high-noise expert serves, such as 0.875"
    )
