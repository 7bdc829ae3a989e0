"""Trajectory matching: the flow map from what the teacher was seen to do, without any derivative.

    L = E || u(noised, sigma, r) - (noised - ended) / (sigma - r) ||^2

``noised`` and ``ended`` are points of one teacher trajectory at sigma and at r < sigma, made once by a good solver
and read as often as wanted: the target is what u should be, and holds no output of the student, so nothing can drift.
From noise to the clean end alone (sigma = 1, r = 0) it is knowledge distillation; with all pairs it learns every
number of steps.
Source: Luhman and Luhman, arXiv:2101.02388, eq. 6 (sigma = 1, r = 0); Boffi et al., Flow Map Matching,
arXiv:2406.07507, on flow maps of any two times.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from frostline import path, transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.errors import WrongUse
from frostline.objectives import Objective, squared_error
from frostline.path import FlowMapFn


def losses(student: FlowMapFn, noised: Tensor, sigma: Tensor, ended: Tensor, end: Tensor) -> Tensor:
    """How far the student's mean velocity is from the teacher's between two points of its trajectory: (B,)."""
    return squared_error(student(noised, sigma, end), mean_velocity(noised, sigma, ended, end))


@torch.no_grad()
def mean_velocity(noised: Tensor, sigma: Tensor, ended: Tensor, end: Tensor) -> Tensor:
    """The velocity (B, ...) that leads from ``noised`` at ``sigma`` straight to ``ended`` at ``end``, below it."""
    if not bool((end < sigma).all()):
        raise WrongUse("a trajectory runs from a sigma down to a lower one: two points of one sigma say nothing")
    return (noised - ended) / path.broadcast(sigma - end, noised)


def objective(process: Process, *, sigmas: Sequence[float]) -> Objective:
    """The loss of one batch of trajectories that have a point at each of ``sigmas``; its times are jumps between them.

    No noise is added to anything: a trajectory begins at the noise it was made of.
    """
    kept = torch.tensor(sigmas, dtype=torch.float64)

    def of_batch(network: nn.Module, batch: Batch, _noise: Tensor, times: Tensor) -> Tensor:
        if batch.clean.ndim != 6 or batch.clean.shape[1] != len(kept):
            raise WrongUse(f"rows of shape {tuple(batch.clean.shape)} are no trajectories of {len(kept)} points")
        sigma, end = times.unbind(1)
        noised, ended = (_at(batch.clean, kept, where) for where in (sigma, end))
        return losses(transformer.flow_map_fn(network, batch.text, process), noised, sigma, ended, end)

    return of_batch


def _at(points: Tensor, kept: Tensor, sigma: Tensor) -> Tensor:
    """Of trajectories (B, K + 1, ...) the point of each at its sigma (B,), one of those that were kept."""
    places = (sigma.cpu()[:, None] - kept).abs().argmin(1).to(points.device)
    return points[torch.arange(len(points), device=points.device), places]
