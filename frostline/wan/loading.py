"""Parts as modules: built empty, filled tensor by tensor, every tensor accounted for.

At no time is more held than the module in its final dtype and what is mapped of one file; both are let go of as soon as
they are not needed. The transformer's embeddings of time and its norms stay in float32, as diffusers keeps them.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import accelerate
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from frostline import files, networks, weights
from frostline.errors import Refused
from frostline.networks import Transformer
from frostline.wan import configs, names
from frostline.wan.layouts import Source
from frostline.wan.names import text_encoder as text_names

SHOWN = 8  # of a list of tensors in an error


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be read: the part's configuration, and the name in the module of every tensor in its files."""

    source: Source
    config: configs.Config
    renamed: dict[Path, dict[str, str]]  # file to name in it to diffusers' name
    kinds: dict[str, weights.Kind]  # by diffusers' name

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of most of its numbers."""
        counts: dict[torch.dtype, int] = {}
        for kind in self.kinds.values():
            counts[kind.dtype] = counts.get(kind.dtype, 0) + kind.bytes
        return max(counts, key=lambda dtype: counts[dtype])


@dataclass
class Audit:
    """Where files and module do not agree."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    def require_none(self, source: Source) -> None:
        """Raise Refused with what is wrong, if anything is."""
        wrong = [_listed(kind, found) for kind, found in vars(self).items() if found]
        if wrong:
            raise Refused(
                f"{_where(source)}: its tensors are not those of the {source.role} it says it is:\n" + "\n".join(wrong)
            )


def plan(source: Source) -> Plan:
    """Look into a part's files, without reading a tensor; raises Refused if they are another part, or two mixed."""
    inside = {file: weights.kinds(file) for file in source.files}
    found: dict[str, weights.Kind] = {}
    for file, kinds in inside.items():
        again = sorted(found.keys() & kinds.keys())
        if again:
            raise Refused(f"{file}: {_listed('tensors', again)} stand in another file of the {source.role} too")
        found |= kinds
    renamed = _renamed(source, list(found))
    by_name = {new: found[name] for name, new in renamed.items()}
    shapes = {name: kind.shape for name, kind in by_name.items()}
    return Plan(
        source=source,
        config=configs.of(source.part, shapes, _stated(source), source.files[0]),
        renamed={file: {name: renamed[name] for name in kinds} for file, kinds in inside.items()},
        kinds=by_name,
    )


def _renamed(source: Source, found: list[str]) -> dict[str, str]:
    """The tensors of all files of a part by diffusers' names."""
    meaning = names.kind(found)
    if meaning is None:
        raise Refused(f"{_where(source)}: no {source.role} of a Wan model, by its tensors' names")
    part, naming = meaning
    if part != source.part:
        raise Refused(f"{_where(source)}: holds a {part}, where a {source.role} is to be; put the right files there")
    if naming == "native":
        return names.to_diffusers(part, found)
    return {name: names.without_prefix(name) for name in found}


def _stated(source: Source) -> configs.Config | None:
    """The configuration beside the files, or in one that was written here."""
    if source.config is not None:
        return files.read_json(source.config)
    with weights.opened(source.files[0]) as tensors:
        inside = tensors.metadata.get(configs.METADATA)
    return None if inside is None else json.loads(inside)


def audit(found: Plan) -> Audit:
    """Compare a part's files with the module of its configuration, without reading a tensor."""
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in _build(found).state_dict().items()}
    tied = {text_names.TIED} & wanted.keys()
    there = {name: kind.shape for name, kind in found.kinds.items()}
    return Audit(
        missing=sorted(wanted.keys() - there.keys() - tied),
        unexpected=sorted(there.keys() - wanted.keys()),
        mismatched=[
            f"{name}: {there[name]} in the files, {wanted[name]} in the module"
            for name in sorted(wanted.keys() & there.keys())
            if there[name] != wanted[name]
        ],
    )


def load(source: Source, dtype: torch.dtype, precise: Collection[str] = ()) -> Any:
    """The part as a frozen module in evaluation mode; raises Refused unless files and module agree entirely.

    ``precise`` are modules in it, by the last part of their names, that are held in float32 as well.
    """
    found = plan(source)
    audit(found).require_none(source)
    with accelerate.init_empty_weights(include_buffers=False):
        module = _build(found)
    filled: dict[str, Tensor] = {}
    for file, renamed in found.renamed.items():
        with weights.opened(file) as tensors:
            for name, new in renamed.items():
                filled[new] = _copied(tensors.read(name), held_in(module, new, dtype, precise))
    module.load_state_dict(filled, strict=False, assign=True)
    if source.part == "text_encoder":
        cast(UMT5EncoderModel, module).tie_weights()
    _require_filled(module, source)
    return module.eval().requires_grad_(False)


def _build(found: Plan) -> nn.Module:
    config: Any = found.config
    if found.source.part == "transformer":
        return networks.of_config(config)
    if found.source.part == "vae":
        return cast(nn.Module, AutoencoderKLWan.from_config(config))
    return UMT5EncoderModel(UMT5Config(**config))


def held_in(module: nn.Module, name: str, dtype: torch.dtype, precise: Collection[str] = ()) -> torch.dtype:
    """What a tensor of a part is held in, where the part is in ``dtype`` but for ``precise`` modules."""
    kept = set(module._keep_in_fp32_modules or ()) if isinstance(module, Transformer) else set[str]()
    return torch.float32 if kept.union(precise) & set(name.split(".")) else dtype


def _copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor of its own, not one in a mapped file."""
    return torch.empty(tensor.shape, dtype=dtype).copy_(tensor)


def _require_filled(module: nn.Module, source: Source) -> None:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    empty = [name for name, tensor in tensors if tensor.is_meta]
    if empty:
        raise Refused(f"{_where(source)}: no values for {_listed('tensors', empty)}")


def _where(source: Source) -> str:
    return str(source.files[0] if len(source.files) == 1 else source.files[0].parent)


def _listed(kind: str, found: Sequence[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"  {kind} {len(found)}: {'; '.join(found[:SHOWN])}{more}"
