"""How weights move: Muon on the matrices inside the blocks, AdamW on everything else, one schedule for both.

Weight decay is AdamW's alone: Muon's steps are of one size whatever the weights are.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from frostline import eight_bit
from frostline.eight_bit import AdamW8
from frostline.muon import Muon
from frostline.params.trainings import OptimizerParams

ADAM_BETAS = (0.9, 0.95)


class Optimizer:
    """The two optimisers of a network as one."""

    def __init__(self, network: nn.Module, params: OptimizerParams, steps: int) -> None:
        """``steps`` is the planned length: the schedule ends there."""
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        inside = [p for name, p in named if name.startswith("blocks.") and p.ndim == 2]
        matrices = inside if params.muon_rate is not None else []
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        self.params, self.steps, self.parameters = params, steps, [p for _, p in named]
        self.parts: dict[str, tuple[torch.optim.Optimizer, float]] = {}
        if params.muon_rate is not None and matrices:
            self.parts["muon"] = (Muon(matrices, lr=params.muon_rate), params.muon_rate)
        if rest:  # an adapter may be all inside the blocks, or all outside
            self.parts["adamw"] = (_adamw(rest, params), params.adamw_rate)

    def clip(self) -> Tensor:
        """Shorten the gradients of all parameters to the norm ``clip`` where it is more; returns what it was."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.params.clip, error_if_nonfinite=False)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def step(self, step: int) -> None:
        """Move the weights along their gradients at step number ``step``."""
        scale = self.scale(step)
        for optimizer, rate in self.parts.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
            optimizer.step()
        self.forget()

    def forget(self) -> None:
        """Let the gradients go."""
        for optimizer, _ in self.parts.values():
            optimizer.zero_grad(set_to_none=True)

    def scale(self, step: int) -> float:
        """The schedule: linear warm-up, then constant or a cosine to zero at the planned end."""
        warmup = self.params.warmup_steps
        if step < warmup:
            return (step + 1) / warmup
        if self.params.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.steps - warmup)))

    def tensors(self) -> dict[str, Tensor]:
        """The whole state as named tensors; before the first step, as it is then: all zeros."""
        return {
            f"{part}.{index}.{key}": value
            for part, (optimizer, _) in self.parts.items()
            for index, parameter in enumerate(optimizer.param_groups[0]["params"])
            for key, value in (optimizer.state[parameter] or _begun(optimizer, parameter)).items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what ``tensors`` gave."""
        for part, (optimizer, _) in self.parts.items():
            parameters = optimizer.param_groups[0]["params"]
            for name, value in tensors.items():
                owner, index, key = name.split(".", 2)
                if owner == part:
                    optimizer.state[parameters[int(index)]][key] = value


def _adamw(weights: list[nn.Parameter], params: OptimizerParams) -> torch.optim.Optimizer:
    betas = params.adam_betas or ADAM_BETAS
    if params.state_bits == 8:
        return AdamW8(weights, lr=params.adamw_rate, betas=betas, weight_decay=params.weight_decay)
    return torch.optim.AdamW(weights, lr=params.adamw_rate, betas=betas, weight_decay=params.weight_decay, fused=True)


def _begun(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """The state of a parameter that was not moved yet."""
    if isinstance(optimizer, AdamW8):
        return eight_bit.begun(parameter)
    if isinstance(optimizer, Muon):
        return {"mean": torch.zeros_like(parameter)}
    zeros = [torch.zeros_like(parameter, memory_format=torch.preserve_format) for _ in range(2)]
    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
    return {"step": step, "exp_avg": zeros[0], "exp_avg_sq": zeros[1]}
