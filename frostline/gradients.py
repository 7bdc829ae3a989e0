"""What a network learns of one batch: losses of rows, their gradients summed up part by part.

The rows of a step are shared by the processes of a team; each draws the noise of its own, keyed by their places, so
that any number of processes draws the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from frostline import randomness
from frostline.dataset import Batch
from frostline.networks import Transformer
from frostline.objectives import Objective
from frostline.processes import Team


def take(
    objective: Objective,
    network: Transformer,
    batch: Batch,
    times: Tensor,
    noise: Sequence[int | str],
    *,
    team: Team,
    parts: int,
) -> Tensor:
    """Add gradients of this process's rows, a part after the other; gives their losses (b,).

    ``times`` are those of all rows of the step by their places; ``noise`` is the key that their noise is drawn from.
    """
    places = range(team.rank, len(times), team.world)
    drawn = randomness.normal_rows(places, batch.shape, *noise)
    own, found = times[team.rank :: team.world], []
    for part, start, at in zip(batch.parts(parts), drawn.chunk(parts), own.chunk(parts), strict=True):
        losses = objective(network, part.to(team.device), start.to(team.device), at.to(team.device))
        (losses.mean() / parts).backward()
        found.append(losses.detach())
    return torch.cat(found)
