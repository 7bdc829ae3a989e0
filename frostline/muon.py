"""Muon for convolution kernels: steps along the nearest orthogonal matrix of the gradient's running mean.

Names:  kernel   weight (out, in, ...), treated as the matrix (out, in * ...)
        reached  matrix whose singular values were pushed towards 1
Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. torch.optim.Muon takes
        matrices only and iterates in bfloat16, which this project's CPU instruction set emulates six times slower.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, as published
ITERATIONS = 5


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T: Newton-Schulz iteration, singular values end within .7 and 1.2."""
    a, b, c = COEFFICIENTS
    tall = matrix.size(0) > matrix.size(1)
    reached = matrix.T if tall else matrix
    reached = reached / (reached.norm() + 1e-7)
    for _ in range(ITERATIONS):
        gram = reached @ reached.T
        reached = a * reached + (b * gram + c * gram @ gram) @ reached
    return reached.T if tall else reached


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; the rate is raised by sqrt(out / in) where a kernel has more outputs."""

    def __init__(self, kernels: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every kernel that has a gradient once."""
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None:
                    self._move(kernel, group["lr"], group["momentum"])

    def _move(self, kernel: Tensor, rate: float, momentum: float) -> None:
        gradient = kernel.grad.reshape(kernel.size(0), -1)  # (out, in * ...)
        state = self.state[kernel]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(gradient)
        mean = state["mean"].lerp_(gradient, 1 - momentum)
        step = orthogonal(gradient.lerp(mean, momentum))
        raised = max(1.0, step.size(0) / step.size(1)) ** 0.5
        kernel.add_(step.reshape(kernel.shape), alpha=-rate * raised)
