"""How weights move: Muon on the matrices inside the blocks, AdamW on everything else, one schedule for both.

Weight decay is AdamW's alone: Muon's steps are of one size whatever the weights are.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from frostline.muon import Muon
from frostline.params.trainings import OptimizerParams

ADAM_BETAS = (0.9, 0.95)


class Optimizer:
    """The two optimisers of a network as one."""

    def __init__(self, network: nn.Module, params: OptimizerParams, steps: int) -> None:
        """``steps`` is the planned length: the schedule ends there."""
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if name.startswith("blocks.") and p.ndim == 2]
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        self.params, self.steps, self.parameters = params, steps, [p for _, p in named]
        self.parts: dict[str, tuple[torch.optim.Optimizer, float]] = {
            "muon": (Muon(matrices, lr=params.muon_rate), params.muon_rate),
            "adamw": (
                torch.optim.AdamW(
                    rest, lr=params.adamw_rate, betas=ADAM_BETAS, weight_decay=params.weight_decay, fused=True
                ),
                params.adamw_rate,
            ),
        }

    def step(self, step: int) -> Tensor:
        """Move the weights along their gradients at step number ``step``, clipped; returns the gradient's norm."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.params.clip, error_if_nonfinite=False)
        scale = self.scale(step)
        for optimizer, rate in self.parts.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norm

    def scale(self, step: int) -> float:
        """The schedule: linear warm-up, then constant or a cosine to zero at the planned end."""
        warmup = self.params.warmup_steps
        if step < warmup:
            return (step + 1) / warmup
        if self.params.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.steps - warmup)))

    def tensors(self) -> dict[str, Tensor]:
        """The whole state as named tensors."""
        return {
            f"{part}.{index}.{key}": torch.as_tensor(value)
            for part, (optimizer, _) in self.parts.items()
            for index, state in optimizer.state_dict()["state"].items()
            for key, value in state.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what ``tensors`` gave."""
        for part, (optimizer, _) in self.parts.items():
            state: dict[int, dict[str, Any]] = {}
            for name, value in tensors.items():
                owner, index, key = name.split(".", 2)
                if owner == part:
                    state.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
