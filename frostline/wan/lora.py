"""Low-rank changes of a transformer (LoRA; Hu et al., arXiv:2106.09685, eq. 3), in files of both conventions.

    W' = W + (alpha / r) * up @ down        down (r, in), up (out, r)

diffusers   transformer.<module>.lora_A.weight and lora_B.weight; alpha in the file's metadata, as peft words it
native      diffusion_model.<module>.lora_down.weight, lora_up.weight and alpha, as ComfyUI and others take them
Modules go by diffusers' names in memory. Numbers pass through unchanged.
"""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frostline import digests, weights
from frostline.errors import Refused, WrongUse
from frostline.wan import names
from frostline.wan.names import Naming

METADATA = "lora_adapter_metadata"  # of the diffusers convention
PREFIXES: dict[Naming, str] = {"diffusers": "transformer.", "native": "diffusion_model."}
DOWN: dict[Naming, str] = {"diffusers": "lora_A.weight", "native": "lora_down.weight"}
UP: dict[Naming, str] = {"diffusers": "lora_B.weight", "native": "lora_up.weight"}
ALPHA = "alpha"


@dataclass(frozen=True)
class Change:
    """The change of one matrix."""

    down: Tensor  # (r, in)
    up: Tensor  # (out, r)
    alpha: float

    @property
    def rank(self) -> int:
        """The change's rank."""
        return self.down.shape[0]

    def delta(self, scale: float = 1.0) -> Tensor:
        """What is added to the matrix: (out, in) in float32."""
        return (scale * self.alpha / self.rank) * (self.up.float() @ self.down.float())


Lora = dict[str, Change]
"""Module, by diffusers' name, to its change."""


def write(lora: Mapping[str, Change], path: Path, naming: Naming) -> None:
    """Write a LoRA in one of the conventions."""
    tensors: dict[str, Tensor] = {}
    modules = _named(lora, naming)
    for module, change in lora.items():
        prefix = PREFIXES[naming] + modules[module]
        tensors |= {f"{prefix}.{DOWN[naming]}": change.down, f"{prefix}.{UP[naming]}": change.up}
        if naming == "native":
            tensors[f"{prefix}.{ALPHA}"] = torch.tensor(change.alpha, dtype=torch.float32)
    kinds = {name: weights.Kind(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    weights.write(path, kinds, tensors.__getitem__, {} if naming == "native" else _stated(lora))


def read(path: Path) -> Lora:
    """A LoRA of either convention; an alpha that is not there is the rank, so that nothing is scaled.

    Raises Refused if half of a pair is missing or a tensor is something else.
    """
    with weights.opened(path) as file:
        tensors = {name: file.read(name).clone() for name in file.kinds}
        stated = json.loads(file.metadata.get(METADATA, "{}"))
    naming = _naming(tensors, path)
    pairs = _pairs(tensors, path)
    modules = _diffusers(pairs, naming)
    found: Lora = {}
    for module, parts in pairs.items():
        if not parts.keys() >= {"down", "up"}:
            raise Refused(f"{path}: {module} has only {', '.join(parts)}; a pair is asked for")
        name = modules[module]
        rank = float(parts["down"].shape[0])
        alpha = parts[ALPHA].item() if ALPHA in parts else _alpha(stated, name, rank)
        found[name] = Change(parts["down"], parts["up"], float(alpha))
    return found


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


def merge(tensors: Mapping[str, Tensor], lora: Mapping[str, Change], scale: float = 1.0) -> dict[str, Tensor]:
    """Weights with a LoRA added, in their own dtype; raises WrongUse if it is for another transformer."""
    merged = dict(tensors)
    for module, change in lora.items():
        name = f"{module}.weight"
        shape = (change.up.shape[0], change.down.shape[1])
        if name not in merged or tuple(merged[name].shape) != shape:
            there = tuple(merged[name].shape) if name in merged else "no such matrix"
            raise WrongUse(f"{name}: the LoRA changes a matrix {shape}, the transformer has {there}; it is for another")
        merged[name] = (merged[name].float() + change.delta(scale)).to(merged[name].dtype)
    return merged


def extract(before: Mapping[str, Tensor], after: Mapping[str, Tensor], rank: int) -> Lora:
    """The best change of a rank, in the Frobenius norm, that turns one transformer's matrices into another's.

    Matrices that are equal are left out; what is no matrix (biases, norms) can't be in a LoRA, and must be equal.
    """
    found: Lora = {}
    for name, old in before.items():
        if torch.equal(old, after[name]):
            continue
        if old.ndim != 2 or not name.endswith(".weight"):
            raise Refused(f"{name}: differs, and is no matrix: a LoRA can't hold that change; export the whole model")
        u, s, v = torch.linalg.svd(after[name].float() - old.float(), full_matrices=False)
        kept = min(rank, len(s))
        root = s[:kept].sqrt()
        found[name.removesuffix(".weight")] = Change(root[:, None] * v[:kept], u[:, :kept] * root, float(kept))
    return found


def _named(modules: Iterable[str], naming: Naming) -> dict[str, str]:
    return names.to_native("transformer", modules) if naming == "native" else {module: module for module in modules}


def _diffusers(modules: Iterable[str], naming: Naming) -> dict[str, str]:
    """Modules by diffusers' names. Its converter knows tensors, with a dot behind the module."""
    if naming == "diffusers":
        return {module: module for module in modules}
    renamed = names.to_diffusers("transformer", [f"{module}.weight" for module in modules])
    return {name.removesuffix(".weight"): new.removesuffix(".weight") for name, new in renamed.items()}


def _naming(tensors: Iterable[str], path: Path) -> Naming:
    for naming, prefix in PREFIXES.items():
        if all(name.startswith(prefix) for name in tensors):
            return naming
    raise Refused(f"{path}: not a LoRA of one Wan transformer: its tensors begin neither all with {PREFIXES}")


def _pairs(tensors: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of each module, which others name by either pair of names under both conventions."""
    ends = {**dict.fromkeys(DOWN.values(), "down"), **dict.fromkeys(UP.values(), "up"), ALPHA: ALPHA}
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        end = next((end for end in ends if name.endswith(f".{end}")), None)
        if end is None:
            raise Refused(f"{path}: {name}: no part of a LoRA ({', '.join(ends)})")
        module = names.without_prefix(name.removesuffix(f".{end}")).removeprefix(PREFIXES["diffusers"])
        found.setdefault(module, {})[ends[end]] = tensor
    return found
