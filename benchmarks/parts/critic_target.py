"""Is the critic's target for intermediate sigmas right in the mean? Asked of a mixture whose velocity is known.

What a right student makes at sigma_k = .875 (Wan2.2's boundary) or .5 is noised on; the weighted difference of target
and known velocity times a test function of the noised point must be zero in the mean. Measured in standard errors.
"""

import torch
from torch import Tensor

from benchmarks.parts import exact_world
from frostline import path, randomness
from frostline.objectives import critic

MADE_AT = (0.5, 0.875)


def off(rows: int, made_at: float) -> tuple[Tensor, Tensor]:
    """Standard errors by which the exact and the naive target miss, under each test function."""
    teacher, draws = exact_world.TEACHER, randomness.generator("critic target", str(made_at))
    clean, _ = teacher.draw(rows, draws)
    first, extra = (torch.randn(clean.shape, dtype=torch.float64, generator=draws) for _ in range(2))
    made = path.noised(clean, first, torch.tensor(made_at, dtype=torch.float64))
    sigma = made_at + (0.98 - made_at) * (1 - torch.rand(rows, dtype=torch.float64, generator=draws))
    noised = critic.noised_on(made, extra, sigma, made_at)
    right = teacher.velocity(noised, sigma)
    targets = (critic.target(made, extra, sigma, made_at), path.velocity(made, extra))
    weight = critic.weight(sigma, made_at)[:, None]
    return _off(weight * (targets[0] - right), noised), _off(weight * (targets[1] - right), noised)


def _off(error: Tensor, noised: Tensor) -> Tensor:
    """Under five test functions (N, D): one axis, the point along it, the point, its size, its sine."""
    axis = torch.nn.functional.normalize(exact_world.TEACHER.means[0], dim=0)
    tests = (
        axis.expand_as(noised),
        (noised @ axis)[:, None] * axis,
        noised,
        noised * noised.square().mean(1, keepdim=True),
        torch.sin(noised),
    )
    values = torch.stack([(error * test).sum(1) for test in tests])  # (tests, N)
    return (values.mean(1) / (values.std(1) / values.shape[1] ** 0.5)).abs()
