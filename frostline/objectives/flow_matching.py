"""Flow matching: the network learns the velocity of straight paths from data to noise.

    L = E || v_theta(noised, sigma, text) - (noise - clean) ||^2        over what follows the context, if there is one

Source: Lipman et al., Flow Matching for Generative Modeling, arXiv:2210.02747, eq. 23; Liu et al., Flow Straight and
Fast, arXiv:2209.03003, eq. 1.
"""

from torch import Tensor, nn

from frostline import continuation, path, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.objectives import Objective, squared_error


def objective(process: Process) -> Objective:
    """The loss of one batch under one process."""

    def losses(network: nn.Module, batch: Batch, noise: Tensor, sigma: Tensor) -> Tensor:
        noised = path.noised(batch.clean, noise, sigma)
        context = continuation.of(batch.clean, process)
        predicted = transformer.velocity_fn(network, batch.text, process, context)(noised, sigma)
        target = path.velocity(batch.clean, noise)
        return squared_error(continuation.rest(predicted, context), continuation.rest(target, context))

    return losses
