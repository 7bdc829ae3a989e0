"""Weights written anew under other names, tensor by tensor and bit for bit."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from frostline import files, weights
from frostline.wan import names
from frostline.wan.loading import Plan

STEMS: dict[names.Part, str] = {
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
"""Names of weights in the diffusers layout."""


def to_diffusers(found: Plan, folder: Path) -> None:
    """Write a part's weights into a folder under diffusers' names: a file for each of its files, and an index."""
    stem, count = STEMS[found.source.part], len(found.renamed)
    index: dict[str, str] = {}
    for number, (file, renamed) in enumerate(found.renamed.items(), 1):
        name = f"{stem}.safetensors" if count == 1 else f"{stem}-{number:05d}-of-{count:05d}.safetensors"
        with weights.opened(file) as tensors:
            old = {new: here for here, new in renamed.items()}
            kinds = {new: tensors.kinds[here] for new, here in old.items()}
            weights.write(folder / name, kinds, _reader(tensors.read, old), {})
        index |= dict.fromkeys(renamed.values(), name)
    if count > 1:
        size = sum(kind.bytes for kind in found.kinds.values())
        files.write_json(
            folder / f"{stem}.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": index}
        )


def _reader(read: Callable[[str], Tensor], old: Mapping[str, str]) -> Callable[[str], Tensor]:
    return lambda new: read(old[new])


def to_native(
    part: names.Part,
    kinds: Mapping[str, weights.Kind],
    read: Callable[[str], Tensor],
    path: Path,
    metadata: Mapping[str, str],
) -> None:
    """Write tensors of diffusers' names into one safetensors file of native names, each asked for once."""
    old = {new: name for name, new in names.to_native(part, kinds).items()}
    weights.write(path, {new: kinds[name] for new, name in old.items()}, _reader(read, old), metadata)
