"""What tensors are called: as Wan-AI published them ("native"), and in diffusers and transformers.

Names map one to one, and tensors stay what they are.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from frostline.errors import Refused
from frostline.wan.names import text_encoder, transformer, vae

Part = Literal["transformer", "vae", "text_encoder"]
Naming = Literal["native", "diffusers"]
Renaming = Callable[[list[str]], dict[str, str]]

PREFIXES = ("model.diffusion_model.", "diffusion_model.")  # of native names in other programs' files

MARKS: dict[str, tuple[Part, Naming]] = {
    "head.modulation": ("transformer", "native"),
    "proj_out.weight": ("transformer", "diffusers"),
    "decoder.middle.0.residual.0.gamma": ("vae", "native"),
    "decoder.mid_block.resnets.0.norm1.gamma": ("vae", "diffusers"),
    "token_embedding.weight": ("text_encoder", "native"),
    "encoder.final_layer_norm.weight": ("text_encoder", "diffusers"),
}
"""A tensor that a part has under a naming, and no other part has."""

_TO_DIFFUSERS: dict[Part, Renaming] = {
    "transformer": transformer.to_diffusers,
    "vae": vae.to_diffusers,
    "text_encoder": text_encoder.to_diffusers,
}
_TO_NATIVE: dict[Part, Renaming] = {
    "transformer": transformer.to_native,
    "vae": vae.to_native,
    "text_encoder": text_encoder.to_native,
}


def kind(names: Iterable[str]) -> tuple[Part, Naming] | None:
    """Which part tensors belong to, and how they are named; None if no part has such names."""
    bare = {without_prefix(name) for name in names}
    found = [meaning for mark, meaning in MARKS.items() if mark in bare]
    return found[0] if found else None


def without_prefix(name: str) -> str:
    """A name without what other programs put before it."""
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def to_diffusers(part: Part, names: Iterable[str]) -> dict[str, str]:
    """Native names to diffusers' names; raises Refused if two would become one."""
    bare = {name: without_prefix(name) for name in names}
    named = _TO_DIFFUSERS[part](list(bare.values()))
    return _one_to_one({name: named[short] for name, short in bare.items()})


def to_native(part: Part, names: Iterable[str]) -> dict[str, str]:
    """Diffusers' names to native names; raises Refused if two would become one."""
    return _one_to_one(_TO_NATIVE[part](list(names)))


def _one_to_one(renamed: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}
    for name, new in renamed.items():
        if new in seen:
            raise Refused(f"tensors {seen[new]!r} and {name!r} are both {new!r}: the file mixes two namings")
        seen[new] = name
    return renamed
