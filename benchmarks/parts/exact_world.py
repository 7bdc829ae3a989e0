"""Where students are measured: a teacher in closed form, what it makes, and how far other samples are from that.

A class-conditional mixture in 128 dimensions, guided by 2. The reference are 20,000 points, as many of each class,
that 500 steps of Heun's method make of noise along the guided velocity; the floor is the distance of as many points
from other noise. Distance: sliced Wasserstein of order 2 over 256 fixed projections (Bonneel et al., Sliced and Radon
Wasserstein Barycenters of Measures, 2015).
"""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from frostline import digests, exact, files, randomness, schedule
from frostline.path import VelocityFn

CLASSES, COMPONENTS, DIMENSIONS = 10, 3, 128
GUIDANCE = 2.0
SHIFT = 5.0
PROJECTIONS = 256
HEUN_STEPS = 500
PORTION = 1000  # rows at a time: a whole number of rounds through the classes
KEPT = Path(".work/benchmarks/exact_world")

TEACHER = exact.mixture(
    classes=CLASSES, components=COMPONENTS, dimensions=DIMENSIONS, generator=randomness.generator("exact world")
)


def labels(rows: int) -> Tensor:
    """Classes (rows,), each as often."""
    return torch.arange(rows) % CLASSES


def velocity(classes: Tensor) -> VelocityFn:
    """The teacher's guided velocity for one batch of classes (B,)."""
    return TEACHER.guided(classes, GUIDANCE)


def noise(rows: int, *key: int | str) -> Tensor:
    """Noise (rows, D) float32."""
    return randomness.normal((rows, DIMENSIONS), *key)


def made(start: Tensor, steps: int = HEUN_STEPS) -> Tensor:
    """What the guided teacher makes of noise (N, D)."""
    return exact.heun(velocity(labels(len(start))), start, schedule.grid(steps, SHIFT))


def reference(name: str, rows: int) -> Tensor:
    """What 500 steps make of the noise of a name (rows, D): made once, then kept in .work."""
    truth = digests.of_json([TEACHER.means.tolist(), TEACHER.stds.tolist(), TEACHER.weights.tolist(), GUIDANCE, SHIFT])
    kept = KEPT / f"{name}-{rows}-{HEUN_STEPS}-{truth[:12]}.safetensors"
    if not kept.exists():
        points = torch.cat([made(part) for part in noise(rows, name).split(PORTION)])
        with files.replacing(kept) as beside:
            safetensors.torch.save_file({"points": points.contiguous()}, beside)
    return safetensors.torch.load_file(kept)["points"]


def distance(ours: Tensor, reference: Tensor) -> float:
    """Sliced Wasserstein distance of two sets (N, D) of as many points."""
    directions = torch.nn.functional.normalize(randomness.normal((DIMENSIONS, PROJECTIONS), "projections"), dim=0)
    along, other = ((points.float() @ directions).sort(dim=0).values for points in (ours, reference))
    return float((along - other).square().mean().sqrt())
