"""Low-rank matrices that are trained beside frozen weights: the one door to peft.

    W' = W + (alpha / r) * up @ down        W (out, in) frozen; down (r, in) drawn, up (out, r) zero at first

So a training begins at exactly its start. Source: Hu et al., arXiv:2106.09685, section 4.1; down is uniform within
1 / sqrt(in), as peft draws it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import peft
import torch
from peft.tuners import lora
from torch import Tensor, nn

from frostline import randomness
from frostline.errors import WrongUse
from frostline.networks import Transformer
from frostline.params.trainings import AdapterParams
from frostline.wan.lora import Change, Lora
from frostline.wan.names import transformer as matrices

NAME = "adapter"  # by which peft tells it from others of the same network
DOWN, UP = f".lora_A.{NAME}.weight", f".lora_B.{NAME}.weight"


def add(network: Transformer, params: AdapterParams, *, seed: int, where: str) -> None:
    """Put float32 matrices beside those that ``targets`` name, and freeze everything else; the network is changed.

    ``where`` is what an error calls the network. Raises WrongUse for a target that names no matrix, and a rank that is
    above a matrix's own.
    """
    chosen = targeted(network, params.targets, where=where)
    for name, linear in chosen.items():
        most = min(linear.out_features, linear.in_features)
        if params.rank > most:
            raise WrongUse(
                f"adapter.rank {params.rank}: {name} of {where} is {linear.out_features} x {linear.in_features}, so no "
                f"change of it has a rank above {most}: lower the rank, or leave it out of adapter.targets"
            )
    config = peft.LoraConfig(r=params.rank, target_modules=list(chosen))
    config.lora_alpha = params.alpha  # type: ignore[assignment]  # a number to multiply with; declared to be an integer
    peft.inject_adapter_in_model(config, network, NAME, low_cpu_mem_usage=True)  # without numbers: these are ours
    for name, linear in chosen.items():
        layer = cast(lora.Linear, network.get_submodule(name))
        down = torch.empty(params.rank, linear.in_features, device=linear.weight.device)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=randomness.generator("adapter", seed, name))
        layer.lora_A[NAME].weight = nn.Parameter(down)
        layer.lora_B[NAME].weight = nn.Parameter(torch.zeros(linear.out_features, params.rank, device=down.device))


def targeted(network: nn.Module, targets: Sequence[str], *, where: str) -> dict[str, nn.Linear]:
    """The matrices that are named, or whose names end so, in the network's order; raises as ``add``."""
    known = {name: module for name, module in network.named_modules() if matrices.is_matrix(name)}
    for target in targets:
        if not any(_named(name, target) for name in known):
            raise WrongUse(
                f"adapter.targets: {target!r} is no matrix of {where}, nor what the name of one ends in; there are "
                f"{', '.join(_endings(known))}"
            )
    return {
        name: cast(nn.Linear, module)
        for name, module in known.items()
        if any(_named(name, target) for target in targets)
    }


def trained(weights: Mapping[str, Tensor], alpha: float) -> Lora:
    """The trained matrices of a network, by its modules; ``weights`` are those of its parameters that move."""
    modules = [name.removesuffix(DOWN) for name in weights if name.endswith(DOWN)]
    return {module: Change(weights[module + DOWN], weights[module + UP], alpha) for module in modules}


def _named(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _endings(known: Mapping[str, nn.Module]) -> list[str]:
    """What the names of matrices end in, each once: without the number of a block."""
    return list(dict.fromkeys(name.split(".", 2)[2] if name.startswith("blocks.") else name for name in known))
