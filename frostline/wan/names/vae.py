"""Names in VAEs: those of Wan2.1 by diffusers' own converter, those of Wan2.2 and all ways back by ours.

Native names number residual blocks and what follows them, a change of size, in one list: one for the whole half in
Wan2.1, one for each level in Wan2.2. diffusers keeps the two apart, but for the encoder of Wan2.1.
"""

import re
from collections.abc import Iterable, Mapping

from diffusers.loaders import single_file_utils

from frostline.wan.names import renaming

_RESIDUAL = (
    ("residual.0", "norm1"),
    ("residual.2", "conv1"),
    ("residual.3", "norm2"),
    ("residual.6", "conv2"),
    ("shortcut", "conv_shortcut"),
)
_HALF = (
    ("middle.0", "mid_block.resnets.0"),
    ("middle.1", "mid_block.attentions.0"),
    ("middle.2", "mid_block.resnets.1"),
    ("conv1", "conv_in"),
    ("head.0", "norm_out"),
    ("head.2", "conv_out"),
)
_BETWEEN = (("conv1", "quant_conv"), ("conv2", "post_quant_conv"))
_HALVES = r"(encoder|decoder)\."
_CHANGES_SIZE = ("resample.", "time_conv.")


def to_diffusers(names: list[str]) -> dict[str, str]:
    """Native names to diffusers' names."""
    if any(re.match(r"encoder\.downsamples\.\d+\.downsamples\.", name) for name in names):
        return {name: _levels_to_diffusers(name) for name in names}
    return renaming.inverted(single_file_utils.convert_wan_vae_to_diffusers({name: name for name in names}))


def to_native(names: list[str]) -> dict[str, str]:
    """Diffusers' names to native names."""
    depths = _depths(names)
    has_levels = any(block.startswith("encoder.") for block in depths)
    return {name: _native(name, depths, has_levels=has_levels) for name in names}


def _levels_to_diffusers(name: str) -> str:
    """A native name of Wan2.2 in diffusers."""
    if level := re.fullmatch(_HALVES + r"(down|up)samples\.(\d+)\.\2samples\.(\d+)\.(.+)", name):
        half, way, number, place, rest = level.groups()
        inside = f"{way}sampler" if rest.startswith(_CHANGES_SIZE) else f"resnets.{place}"
        return f"{half}.{way}_blocks.{number}.{inside}.{renaming.begun(rest, _RESIDUAL)}"
    if half := re.fullmatch(_HALVES + r"(.+)", name):
        return f"{half[1]}.{_in_middle(renaming.begun(half[2], _HALF), _RESIDUAL)}"
    return renaming.begun(name, _BETWEEN)


def _native(name: str, depths: Mapping[str, int], *, has_levels: bool) -> str:
    if block := re.fullmatch(_HALVES + r"(down|up)_blocks\.(\d+)\.(.+)", name):
        half, way, number, rest = block.groups()
        place, inner = _place(rest, depths.get(f"{half}.{way}_blocks.{number}", 0))
        inner = renaming.begun(inner, renaming.swapped(_RESIDUAL))
        if has_levels:
            return f"{half}.{way}samples.{number}.{way}samples.{place}.{inner}"
        before = [depths.get(f"{half}.{way}_blocks.{earlier}", 0) + 1 for earlier in range(int(number))]
        return f"{half}.{way}samples.{sum(before) + place}.{inner}"
    if half := re.fullmatch(_HALVES + r"(.+)", name):
        inner = _in_middle(half[2], renaming.swapped(_RESIDUAL))
        return f"{half[1]}.{renaming.begun(inner, renaming.swapped(_HALF))}"
    return renaming.begun(name, renaming.swapped(_BETWEEN))


def _depths(names: Iterable[str]) -> dict[str, int]:
    """How many residual blocks each of diffusers' blocks holds, if it holds any."""
    found: dict[str, int] = {}
    for name in names:
        if match := re.match(r"(.+?_blocks\.\d+)\.resnets\.(\d+)\.", name):
            found[match[1]] = max(found.get(match[1], 0), int(match[2]) + 1)
    return found


def _place(rest: str, resnets: int) -> tuple[int, str]:
    """The place of a tensor's block in the native list of its level, and the tensor's name in that block.

    A change of size stands behind the residual blocks; what is no list in diffusers stands for itself.
    """
    if found := re.fullmatch(r"resnets\.(\d+)\.(.+)", rest):
        return int(found[1]), found[2]
    if found := re.fullmatch(r"(?:upsamplers\.0|upsampler|downsampler)\.(.+)", rest):
        return resnets, found[1]
    return 0, rest


def _in_middle(name: str, pairs: renaming.Pairs) -> str:
    """A name with the parts of a residual block of the middle renamed."""
    if found := re.fullmatch(r"(mid_block\.resnets\.\d+)\.(.+)", name):
        return f"{found[1]}.{renaming.begun(found[2], pairs)}"
    return name
