"""What a network is trained towards: each objective a function of one batch, giving one loss per row.

The maths of each stands in functions of a VelocityFn or FlowMapFn, so that a transformer, a small network of a
benchmark and a closed-form teacher go through the same code. ``objective`` of each module binds it to a network and
its batches.
"""

from collections.abc import Callable

from torch import Tensor, nn

from frostline.dataset import Batch

Objective = Callable[[nn.Module, Batch, Tensor, Tensor], Tensor]
"""(network, batch, noise (B, ...), sigma (B,)) -> losses (B,)"""


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each row (B,), in float32."""
    return (predicted.float() - target.float()).square().flatten(1).mean(dim=1)
