"""Muon for matrices and convolution kernels: steps along the nearest orthogonal matrix of the gradient's running mean.

Names:  kernel   weight (out, in, ...), treated as the matrix (out, in * ...)
        reached  matrices whose singular values were pushed towards 1
Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. torch.optim.Muon takes
        matrices only, one by one, and iterates in bfloat16, which this project's CPU instruction set emulates six
        times slower; here kernels of one shape are orthogonalised together.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, as published
ITERATIONS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """About U V^T of each matrix U S V^T (..., m, n): Newton-Schulz iteration, singular values end in .7 to 1.2."""
    a, b, c = COEFFICIENTS
    tall = matrices.size(-2) > matrices.size(-1)
    reached = matrices.mT if tall else matrices
    reached = reached / (reached.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = reached @ reached.mT
        reached = a * reached + (b * gram + c * gram @ gram) @ reached
    return reached.mT if tall else reached


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; the rate is raised by sqrt(out / in) where a kernel has more outputs."""

    def __init__(self, kernels: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # noqa: ARG002
        """Move every kernel that has a gradient once."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[Tensor]] = {}
            for kernel in group["params"]:
                if kernel.grad is not None:
                    alike.setdefault((kernel.size(0), kernel[0].numel()), []).append(kernel)
            for shape, kernels in alike.items():
                self._move(shape, kernels, group["lr"], group["momentum"])

    def _move(self, shape: tuple[int, int], kernels: Sequence[Tensor], rate: float, momentum: float) -> None:
        means = [self._mean(kernel, shape, momentum) for kernel in kernels]
        leads = [_gradient(kernel, shape).lerp(mean, momentum) for kernel, mean in zip(kernels, means, strict=True)]
        raised = max(1.0, shape[0] / shape[1]) ** 0.5
        for kernel, step in zip(kernels, orthogonal(torch.stack([_whole(lead) for lead in leads])), strict=True):
            kernel.add_(_part(step.reshape(kernel.shape), kernel), alpha=-rate * raised)

    def _mean(self, kernel: Tensor, shape: tuple[int, int], momentum: float) -> Tensor:
        state = self.state[kernel]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(_gradient(kernel, shape))
        return state["mean"].lerp_(_gradient(kernel, shape), 1 - momentum)


def _whole(matrix: Tensor) -> Tensor:
    """A matrix of which each process holds some rows, gathered: all rows decide where each of them moves."""
    return matrix.full_tensor() if isinstance(matrix, DTensor) else matrix


def _part(step: Tensor, kernel: Tensor) -> Tensor:
    """Of a step that every process has computed, what moves the rows of a kernel that are here."""
    if not isinstance(kernel, DTensor):
        return step
    return distribute_tensor(step, kernel.device_mesh, kernel.placements, src_data_rank=None)


def _gradient(kernel: Tensor, shape: tuple[int, int]) -> Tensor:
    if kernel.grad is None:
        raise RuntimeError("a kernel without a gradient cannot be moved")
    return kernel.grad.reshape(shape)
