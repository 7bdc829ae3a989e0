"""AdamW whose two means are held in 8 bits each: a code for every number, a scale for every stretch of a row.

    mean = scale * LEVELS[code]         scale = the greatest |mean| of its stretch

Names:  codes     uint8, of the weights' shape (rows, ...)
        scale     float32 (rows, stretches), of at most 256 numbers each
        levels    256 numbers from -1 (squares: from 0) to 1, in seven decades
Source: Dettmers et al., 8-bit Optimizers via Block-wise Quantization, arXiv:2110.02861: stretches (section 2.1) and the
        dynamic levels (section 1.3). Steps are made in float32, from means that are rounded after them.

A stretch never leaves its row, and what is held in 8 bits depends on a whole matrix: weights that are spread over
processes by rows are moved, and their state is saved, the same for any number of them.
"""

import functools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import functional

STRETCH = 256  # numbers that share a scale, at most
SMALLEST, SHORTEST = 4096, 8  # numbers of a matrix, and of its rows; what has fewer keeps float32, and costs nothing
TOGETHER = 1 << 24  # numbers that are whole in float32 at once, at most, but for those of one row
DECADES = 7
MEANS = ("mean", "square")  # of gradients, and of their squares


@functools.cache
def levels(device: torch.device, *, signed: bool) -> Tensor:
    """The 256 numbers that codes stand for, in order: each decade has twice as many as the one below it."""
    found = [0.0, 1.0]
    for decade in range(DECADES):
        count = 2**decade if signed else 2 ** (decade + 1)
        edges = torch.linspace(0.1, 1, count + 1, dtype=torch.float64, device="cpu") * 10.0 ** (decade - DECADES + 1)
        middles = ((edges[1:] + edges[:-1]) / 2).tolist()
        found += [*middles, *(-middle for middle in middles)] if signed else middles
    return torch.tensor(sorted(found), dtype=torch.float32, device="cpu").to(device)


def rounded(numbers: Tensor, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Codes uint8 (rows, n) and scales (rows, stretches) of numbers (rows, n): each at the nearest level."""
    known = levels(numbers.device, signed=signed)
    stretches = _stretches(numbers)
    scale = stretches.abs().amax(dim=-1)
    relative = stretches / torch.where(scale > 0, scale, 1).unsqueeze(-1)
    codes = torch.bucketize(relative, (known[1:] + known[:-1]) / 2, out_int32=True).to(torch.uint8)
    return codes.flatten(1)[:, : numbers.size(1)], scale


def whole(codes: Tensor, scale: Tensor, *, signed: bool) -> Tensor:
    """The numbers (rows, n) that codes and scales stand for."""
    numbers = _stretches(levels(codes.device, signed=signed)[codes.int()])
    return (numbers * scale.unsqueeze(-1)).flatten(1)[:, : codes.size(1)]


def _stretches(rows: Tensor) -> Tensor:
    """(rows, n) -> (rows, stretches, at most 256), with zeros at the end of a row that does not come out even."""
    size = min(STRETCH, rows.size(1))
    return functional.pad(rows, (0, -rows.size(1) % size)).unflatten(1, (-1, size))


def begun(weights: Tensor) -> dict[str, Tensor]:
    """The state of weights that were not moved yet, spread over processes as they are: all zeros."""
    state: dict[str, Tensor] = {"step": torch.zeros((), dtype=torch.float32)}
    width = math.prod(weights.shape[1:])
    if weights.ndim < 2 or weights.numel() < SMALLEST or width < SHORTEST:
        return state | {name: torch.zeros_like(weights) for name in MEANS}
    one_each = weights.detach().flatten(1)[:, : math.ceil(width / STRETCH)]
    for name in MEANS:
        state[f"{name}.codes"] = torch.zeros_like(weights, dtype=torch.uint8)
        state[f"{name}.scale"] = torch.zeros_like(one_each, memory_format=torch.contiguous_format)
    return state


class AdamW8(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter, arXiv:1711.05101, algorithm 2) of float32 weights."""

    def __init__(
        self, weights: Iterable[Tensor], *, lr: float, betas: tuple[float, float], weight_decay: float
    ) -> None:
        super().__init__(weights, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # noqa: ARG002
        """Move all weights that have a gradient once."""
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    state = self.state[weights]
                    state.update({} if state else begun(weights))
                    state["step"] += 1
                    _move(_here(weights), _here(weights.grad), {name: _here(t) for name, t in state.items()}, group)


def _move(weights: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    """One step of the weights that are here, so many rows at a time that little is whole at once."""
    step = state.pop("step").item()
    if "mean" in state:
        _step(weights, gradient, state["mean"], state["square"], step, group)
        return
    width = math.prod(weights.shape[1:])
    held = [state[f"{mean}.{part}"] for mean in MEANS for part in ("codes", "scale")]
    tables = [tensor.view(len(tensor), math.prod(tensor.shape[1:])) for tensor in (weights, *held)]
    parts = (table.split(max(1, TOGETHER // width)) for table in (gradient.reshape(tables[0].shape), *tables))
    for slopes, rows, codes, scale, square_codes, square_scale in zip(*parts, strict=True):
        mean, square = whole(codes, scale, signed=True), whole(square_codes, square_scale, signed=False)
        _step(rows, slopes, mean, square, step, group)
        for old, new in zip((codes, scale), rounded(mean, signed=True), strict=True):
            old.copy_(new)
        for old, new in zip((square_codes, square_scale), rounded(square, signed=False), strict=True):
            old.copy_(new)


def _step(weights: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: float, group: dict[str, Any]) -> None:
    """Step number ``step`` (from 1), with both means whole; all three change in place."""
    (first, second), rate = group["betas"], group["lr"]
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    size = square.sqrt().div_(math.sqrt(1 - second**step)).add_(group["eps"])
    weights.mul_(1 - rate * group["weight_decay"]).addcdiv_(mean, size, value=-rate / (1 - first**step))


def _here(tensor: Tensor) -> Tensor:
    """What of a tensor this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
