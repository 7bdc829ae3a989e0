"""What a network is trained towards: each objective a function of one batch, giving one loss per row."""

from collections.abc import Callable

from torch import Tensor, nn

from frostline.dataset import Batch

Objective = Callable[[nn.Module, Batch, Tensor, Tensor], Tensor]
"""(network, batch, noise (B, ...), sigma (B,)) -> losses (B,)"""


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each row (B,), in float32."""
    return (predicted.float() - target.float()).square().flatten(1).mean(dim=1)
