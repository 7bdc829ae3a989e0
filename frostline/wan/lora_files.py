"""LoRA files of both conventions.

diffusers   transformer.<module>.lora_A.weight and lora_B.weight; alpha in the file's metadata, as peft words it
native      diffusion_model.<module>.lora_down.weight, lora_up.weight and alpha, as ComfyUI and others take them

Either pair of endings is read under either prefix. Numbers pass through unchanged.
"""

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frostline import digests, weights
from frostline.errors import Refused
from frostline.wan import names
from frostline.wan.lora import Change, Lora
from frostline.wan.names import Naming
from frostline.wan.names import transformer as matrices

METADATA = "lora_adapter_metadata"  # of the diffusers convention
PREFIXES: dict[Naming, str] = {"diffusers": "transformer.", "native": "diffusion_model."}
DOWN: dict[Naming, str] = {"diffusers": "lora_A.weight", "native": "lora_down.weight"}
UP: dict[Naming, str] = {"diffusers": "lora_B.weight", "native": "lora_up.weight"}
ALPHA = "alpha"
OTHER_FORMS = ("use_dora", "use_rslora")  # of peft: what they add is not up @ down times alpha / r
REMEDY = "ask for a LoRA of pairs of matrices alone, or export it so from the program it was trained in"


def write(lora: Mapping[str, Change], path: Path, naming: Naming, metadata: Mapping[str, str] | None = None) -> None:
    """Write a LoRA in one of the conventions, with what its metadata is to say besides."""
    tensors: dict[str, Tensor] = {}
    modules = _named(lora, naming)
    for module, change in lora.items():
        prefix = PREFIXES[naming] + modules[module]
        tensors |= {f"{prefix}.{DOWN[naming]}": change.down, f"{prefix}.{UP[naming]}": change.up}
        if naming == "native":
            tensors[f"{prefix}.{ALPHA}"] = torch.tensor(change.alpha, dtype=torch.float32)
    kinds = {name: weights.Kind(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    stated = {} if naming == "native" else _stated(lora)
    weights.write(path, kinds, tensors.__getitem__, {**(metadata or {}), **stated})


def read(path: Path) -> Lora:
    """A LoRA of either convention; an alpha that is not there is the rank, so that nothing is scaled.

    Raises Refused if half of a pair is missing, ranks of a pair differ, or a tensor or module is something else.
    """
    with weights.opened(path) as file:
        tensors = {name: file.read(name).clone() for name in file.kinds}
        stated: dict[str, Any] = json.loads(file.metadata.get(METADATA, "{}"))
    _require_plain(stated, path)
    naming = _naming(tensors, path)
    pairs = _pairs(tensors, path)
    modules = _diffusers(pairs, naming)
    _require_known(modules, path)
    return {modules[module]: _change(module, parts, modules, stated, path) for module, parts in pairs.items()}


def facts(path: Path) -> dict[str, str]:
    """What a file's metadata says besides the convention's own."""
    with weights.opened(path) as file:
        return {key: value for key, value in file.metadata.items() if key not in (METADATA, "format")}


def _change(
    module: str, parts: Mapping[str, Tensor], modules: Mapping[str, str], stated: Mapping[str, Any], path: Path
) -> Change:
    if not parts.keys() >= {"down", "up"}:
        raise Refused(f"{path}: {module} has only {', '.join(parts)}; a pair is asked for: fetch the file again")
    down, up = parts["down"], parts["up"]
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        raise Refused(
            f"{path}: {module}: down {tuple(down.shape)} and up {tuple(up.shape)} have no rank in common, as a pair of "
            f"matrices (r, in) and (out, r) has; {REMEDY}"
        )
    if not (down.isfinite().all() and up.isfinite().all()):
        raise Refused(f"{path}: {module}: holds numbers that are not finite: the file is damaged; fetch it again")
    rank = float(down.shape[0])
    alpha = parts[ALPHA].item() if ALPHA in parts else _alpha(stated, modules[module], rank)
    return Change(down, up, float(alpha))


def _stated(lora: Mapping[str, Change]) -> dict[str, str]:
    """Ranks and alphas in the words of peft's LoraConfig, from which diffusers makes its adapters."""
    ranks = {module: change.rank for module, change in lora.items()}
    alphas = {module: change.alpha for module, change in lora.items()}
    rank, alpha = (statistics.mode(values.values()) for values in (ranks, alphas))
    config = {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {module: own for module, own in ranks.items() if own != rank},
        "alpha_pattern": {module: own for module, own in alphas.items() if own != alpha},
        "target_modules": sorted(lora),
    }
    return {METADATA: digests.canonical({PREFIXES["diffusers"] + key: value for key, value in config.items()})}


def _alpha(stated: Mapping[str, Any], module: str, rank: float) -> float:
    """The alpha that a file's metadata names for a module; the rank where it names none."""
    prefix = PREFIXES["diffusers"]
    own = stated.get(f"{prefix}alpha_pattern", {})
    return own[module] if module in own else stated.get(f"{prefix}lora_alpha", rank)


def _named(modules: Iterable[str], naming: Naming) -> dict[str, str]:
    return names.to_native("transformer", modules) if naming == "native" else {module: module for module in modules}


def _diffusers(modules: Iterable[str], naming: Naming) -> dict[str, str]:
    """Modules by diffusers' names. Its converter knows tensors, with a dot behind the module."""
    if naming == "diffusers":
        return {module: module for module in modules}
    renamed = names.to_diffusers("transformer", [f"{module}.weight" for module in modules])
    return {name.removesuffix(".weight"): new.removesuffix(".weight") for name, new in renamed.items()}


def _require_plain(stated: Mapping[str, Any], path: Path) -> None:
    forms = [form for form in OTHER_FORMS if stated.get(PREFIXES["diffusers"] + form)]
    if forms:
        raise Refused(f"{path}: its metadata says {' and '.join(forms)}, another form than up @ down; {REMEDY}")


def _require_known(modules: Mapping[str, str], path: Path) -> None:
    unknown = [module for module, name in modules.items() if not matrices.is_matrix(name)]
    if unknown:
        raise Refused(f"{path}: {unknown[0]}: no matrix of a Wan transformer ({len(unknown)} such); {REMEDY}")


def _naming(tensors: Iterable[str], path: Path) -> Naming:
    tensors = list(tensors)
    for naming, prefix in PREFIXES.items():
        if tensors and all(name.startswith(prefix) for name in tensors):
            return naming
    neither = next((name for name in tensors if not name.startswith(tuple(PREFIXES.values()))), None)
    example = "" if neither is None else f" {neither!r} does not."
    raise Refused(
        f"{path}: not a LoRA of one Wan transformer: its tensors' names begin all with {PREFIXES['diffusers']!r}, or "
        f"all with {PREFIXES['native']!r}.{example} Name another file"
    )


def _pairs(tensors: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of each module, which others name by either pair of names under both conventions."""
    ends = {**dict.fromkeys(DOWN.values(), "down"), **dict.fromkeys(UP.values(), "up"), ALPHA: ALPHA}
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        end = next((end for end in ends if name.endswith(f".{end}")), None)
        if end is None:
            raise Refused(f"{path}: {name}: no part of a LoRA ({', '.join(ends)}); {REMEDY}")
        module = names.without_prefix(name.removesuffix(f".{end}")).removeprefix(PREFIXES["diffusers"])
        parts = found.setdefault(module, {})
        if ends[end] in parts:
            raise Refused(f"{path}: {name}: {module} has two of the kind {ends[end]}; {REMEDY}")
        parts[ends[end]] = tensor
    return found
