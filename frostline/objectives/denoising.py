"""Denoising on a DDPM schedule: the network learns v or epsilon, at sigmas drawn as for every training.

    L = E || f_theta(diffused, timestep, text) - target ||^2        target = v or epsilon, see ``frostline.diffusion``

Source: Salimans and Ho, arXiv:2202.00512, section 4; Lin et al., arXiv:2305.08891, section 3.2, for v with zero
terminal signal.
"""

from torch import Tensor, nn

from frostline import continuation, diffusion, path, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.errors import WrongUse
from frostline.objectives import Objective, squared_error


def objective(process: Process) -> Objective:
    """The loss of one batch; raises WrongUse for a process without a schedule."""
    if process.diffusion is None or process.prediction == "velocity" or process.prediction == "mean_velocity":
        raise WrongUse("this process has no diffusion schedule: train it by flow matching, or give one")
    prediction = process.prediction

    def losses(network: nn.Module, batch: Batch, noise: Tensor, sigma: Tensor) -> Tensor:
        given = diffusion.diffused(path.noised(batch.clean, noise, sigma), sigma)
        context = continuation.of(batch.clean, process)
        predicted = transformer.predicted(network, given, sigma, batch.text, process, context)
        target = diffusion.target(batch.clean, noise, sigma, prediction)
        return squared_error(continuation.rest(predicted, context), continuation.rest(target, context))

    return losses
