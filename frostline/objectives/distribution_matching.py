"""Distribution matching: what a few-step student makes moves to where the teacher finds it likelier than the critic.

    made    = the student's clean latent after j steps of its own sampler, from prompts and noise alone
    noised  = made at a drawn sigma, in [.02, .98]
    grad    = (clean_fake - clean_real) / mean |made - clean_real|      per row
    L       = 1/2 || made - stopgrad(made - grad) ||^2

clean_real and clean_fake are the teacher's and the critic's clean ends of noised; how something is made stands in
``simulation``. L is no measure of quality: its size is the gradient's.
Source: Yin et al., One-step Diffusion with Distribution Matching Distillation, arXiv:2311.18828, eq. 7 and 8;
Improved Distribution Matching Distillation, arXiv:2405.14867, section 4.1 (two time scales). No GAN.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from frostline import path, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.objectives import Objective, simulation, times
from frostline.objectives.teaching import Teaching
from frostline.path import VelocityFn


@torch.no_grad()
def gradient(teacher: VelocityFn, critic: VelocityFn, clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Where clean latents (B, ...) should not go: from the teacher's clean end to the critic's, in each row's size."""
    noised = path.noised(clean, noise, sigma)
    real = path.clean(noised, teacher(noised, sigma), sigma)
    fake = path.clean(noised, critic(noised, sigma), sigma)
    size = (clean - real).abs().flatten(1).mean(1)
    return (fake - real) / path.broadcast(size.clamp(min=torch.finfo(size.dtype).tiny), clean)


def losses(teacher: VelocityFn, critic: VelocityFn, clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """A loss per row (B,) whose gradient by ``clean`` is ``gradient``, divided by the numbers in a row."""
    target = (clean - gradient(teacher, critic, clean, noise, sigma)).detach()
    return 0.5 * (clean.float() - target.float()).square().flatten(1).mean(1)


def objective(process: Process, *, taught: Teaching, critic: nn.Module, sigmas: Sequence[float]) -> Objective:
    """The loss of what a student makes of a batch's noise and captions, at ``sigmas`` (K,) of its sampler.

    Its times are those of ``Simulated``; nothing of the batch's latents is read but their shape.
    """

    def of_batch(network: nn.Module, batch: Batch, noise: Tensor, drawn: Tensor) -> Tensor:
        clean = simulation.of_batch(network, batch, noise, drawn, process, sigmas)
        fake = transformer.velocity_fn(critic, batch.text, process)
        extra = simulation.normal(drawn, noise, "compared")
        return losses(taught(batch), fake, clean, extra, drawn[:, times.SIGMA])

    return of_batch
