"""Students of the exact teacher, one recipe per objective: the same small network, and nothing but the teacher.

Each is sampled by the product's own sampler, its averaged weights with the sigmas of shift 5. All recipes but
velocity matching see points of teacher trajectories; a student made from another begins with its steps, and they count.
"""

import copy
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.parts import exact_world, small_student
from benchmarks.parts.small_student import Network
from frostline import contract, exact, path, randomness, sampling, schedule
from frostline.ema import Average
from frostline.objectives import (
    consistency,
    critic,
    distribution_matching,
    flow_map,
    simulation,
    times,
    trajectory_matching,
    velocity_matching,
)

BATCH, WARMUP, CLIP = 128, 50, 1.0
RATE, CRITIC_RATE = 2e-3, 1e-3
EMA = 0.998
SHIFT = exact_world.SHIFT
GRID = schedule.grid(consistency.STEPS, SHIFT)
FEW = schedule.grid(4, SHIFT)[:-1]
POOL, POOL_STEPS = 1000, 200  # trajectories that are kept, and for how many steps
STUDENT_EVERY = 5  # steps of the critic for one of the student
REGULARISATION = 0.1  # weight of distribution matching beside consistency


@dataclass(kw_only=True)
class Run:
    """One training: the student, what follows it, and what is drawn."""

    network: Network
    average: Average[Network]  # what is sampled
    target: Average[Network]  # what consistency names as the end
    draws: torch.Generator
    critic: Network | None = None
    critic_optimizer: torch.optim.Optimizer | None = None
    pool: Tensor = field(default_factory=lambda: torch.empty(0))  # (POOL, 49, D): trajectories from noise to their ends

    def classes(self) -> Tensor:
        """Classes of a batch."""
        return torch.randint(exact_world.CLASSES, (BATCH,), generator=self.draws)

    def normal(self) -> Tensor:
        """Standard normal numbers of a batch."""
        return torch.randn(BATCH, exact_world.DIMENSIONS, generator=self.draws)

    def marks(self, highest: int) -> Tensor:
        """Places on the grid of trajectories, from 0 to ``highest``."""
        return torch.randint(0, highest + 1, (BATCH,), generator=self.draws)

    def trajectories(self, step: int) -> tuple[Tensor, Tensor]:
        """Trajectories (B, 49, D) and their classes (B,), of a pool that is made anew now and then."""
        if step % POOL_STEPS == 0 or not len(self.pool):
            self.pool = _trajectories(torch.randn(POOL, exact_world.DIMENSIONS, generator=self.draws))
        rows = torch.randint(POOL, (BATCH,), generator=self.draws)
        return self.pool[rows], exact_world.labels(POOL)[rows]


Loss = Callable[[Run, int, int], Tensor | None]
"""(run, step, steps) -> the loss of the student, or nothing if it does not move"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one student is made and sampled: parts one after the other, each a loss and its number of steps."""

    parts: tuple[tuple[Loss, int], ...]
    sampler: str
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished student and what it took."""

    network: Network
    seconds: float  # of CPU


def _trajectories(noise: Tensor) -> Tensor:
    velocity, points = exact_world.velocity(exact_world.labels(len(noise))), [noise]
    for pair in itertools.pairwise(GRID):
        points.append(exact.heun(velocity, points[-1], torch.stack(pair)))
    return torch.stack(points, dim=1)


def match_velocity(run: Run, _step: int, _steps: int) -> Tensor:
    """Velocity matching on noised data."""
    clean, label = exact_world.TEACHER.draw(BATCH, run.draws)
    sigma = schedule.draw_uniform(BATCH, SHIFT, run.draws)
    noised = path.noised(clean.float(), run.normal(), sigma)
    student = small_student.velocity_fn(run.network, label)
    return velocity_matching.losses(student, exact_world.velocity(label), noised, sigma).mean()


def match_trajectories(run: Run, step: int, _steps: int) -> Tensor:
    """Trajectory matching: a quarter of rows from noise, a quarter to the end, all pairs of the grid."""
    points, label = run.trajectories(step)
    kind = torch.rand(BATCH, generator=run.draws)
    high = run.marks(consistency.STEPS - 1).masked_fill(kind < 0.25, 0)
    between = high + 1 + (torch.rand(BATCH, generator=run.draws) * (consistency.STEPS - high)).long()
    low = between.masked_fill(kind > 0.75, consistency.STEPS).clamp(max=consistency.STEPS)
    rows, student = torch.arange(BATCH), small_student.flow_map_fn(run.network, label)
    return trajectory_matching.losses(student, points[rows, high], GRID[high], points[rows, low], GRID[low]).mean()


def be_consistent(run: Run, step: int, _steps: int) -> Tensor:
    """Discrete consistency; the target's weights are a quick average."""
    points, label = run.trajectories(step)
    high = run.marks(consistency.STEPS - 1)
    asked = (points[torch.arange(BATCH), high], GRID[high], GRID[high + 1])
    student, average = (small_student.velocity_fn(of, label) for of in (run.network, run.target.network))
    return consistency.losses(student, average, exact_world.velocity(label), *asked).mean()


def map_flow(run: Run, step: int, steps: int) -> Tensor:
    """The flow map by central differences: half of the rows are the velocity's, a quarter end at 0."""
    points, label = run.trajectories(step)
    high = run.marks(consistency.STEPS - 1)
    ends = flow_map.Ends(at_start=0.5, at_zero=0.25).draw(GRID[high], SHIFT, run.draws)
    return flow_map.losses(
        small_student.flow_map_fn(run.network, label),
        exact_world.velocity(label),
        points[torch.arange(BATCH), high],
        GRID[high],
        ends,
        warmth=flow_map.warmed(step, steps // 3),
        normalised=False,
    ).mean()


def match_distribution(run: Run, step: int, _steps: int) -> Tensor | None:
    """Distribution matching with backward simulation; the critic learns every step, the student every fifth."""
    label = run.classes()
    student = small_student.velocity_fn(run.network, label)
    number = int(torch.randint(len(FEW), (1,), generator=run.draws))
    asked = simulation.simulated(student, run.normal(), FEW, number, lambda _: run.normal())
    moves = step % STUDENT_EVERY == 0
    with torch.set_grad_enabled(moves):
        made = simulation.made(student, asked)
    fake = _critic_learns(run, made.detach(), label)
    if not moves:
        return None
    sigma = times.compared(BATCH, SHIFT, run.draws)
    teacher = exact_world.velocity(label)
    return distribution_matching.losses(teacher, fake, made, run.normal(), sigma).mean()


def be_consistent_and_match(run: Run, step: int, steps: int) -> Tensor | None:
    """Consistency at every step, distribution matching at every fifth, as rCM has them together."""
    matched = match_distribution(run, step, steps)
    consistent = be_consistent(run, step, steps)
    return consistent if matched is None else consistent + REGULARISATION * matched


def _critic_learns(run: Run, made: Tensor, label: Tensor) -> path.VelocityFn:
    if run.critic is None or run.critic_optimizer is None:
        run.critic = copy.deepcopy(run.network).requires_grad_(True)
        run.critic_optimizer = torch.optim.AdamW(run.critic.parameters(), lr=CRITIC_RATE, betas=(0.0, 0.999))
    fake = small_student.velocity_fn(run.critic, label)
    sigma = times.compared(BATCH, SHIFT, run.draws)
    critic.losses(fake, made, run.normal(), sigma, 0.0).mean().backward()
    run.critic_optimizer.step()
    run.critic_optimizer.zero_grad()
    return fake


RECIPES = {
    "velocity_matching": Recipe(parts=((match_velocity, 1000),), sampler="euler"),
    "trajectory_matching": Recipe(parts=((match_trajectories, 1000),), sampler="flow_map"),
    "flow_map": Recipe(parts=((map_flow, 1000),), sampler="flow_map"),
    "consistency": Recipe(parts=((match_velocity, 300), (be_consistent, 1000)), sampler="renoise"),
    "distribution_matching": Recipe(
        parts=((match_velocity, 400), (match_distribution, 800)), sampler="renoise", betas=(0.0, 0.999)
    ),
    "consistency_and_distribution": Recipe(
        parts=((match_velocity, 300), (be_consistent, 400), (be_consistent_and_match, 400)), sampler="renoise"
    ),
}


def make(recipe: Recipe, seed: int, share: float = 1.0) -> Made:
    """Train one student; ``share`` of the steps make a rehearsal."""
    started = time.process_time()
    network = small_student.create(exact_world.DIMENSIONS, exact_world.CLASSES, seed)
    average, target = Average(network, EMA), Average(network, consistency.EMA_DECAY)
    run = Run(network=network, average=average, target=target, draws=randomness.generator("few steps", seed))
    for loss, steps in recipe.parts:
        _train(run, loss, max(1, round(steps * share)), recipe.betas)
    return Made(network=run.average.network, seconds=time.process_time() - started)


def _train(run: Run, loss: Loss, steps: int, betas: tuple[float, float]) -> None:
    """One part with a schedule of its own; the average begins anew where the student stands."""
    for stale in (run.network, run.target.network):
        stale.load_state_dict(run.average.network.state_dict())
    parameters = list(run.network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=betas, weight_decay=0.0, fused=True)
    moved = 0
    for step in range(steps):
        found = loss(run, step, steps)
        if found is None:
            continue
        found.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        rate = min(1.0, (moved + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = RATE * rate
        optimizer.step()
        optimizer.zero_grad()
        for follower in (run.average, run.target):
            follower.follow(run.network, moved)
        moved += 1


def record(sampler: str, steps: int) -> contract.Sampling:
    """The sampling part of a student's contract."""
    return contract.Sampling.model_validate(
        {
            "sampler": sampler,
            "rounds_timesteps": False,
            "steps": steps,
            "allowed_steps": None,
            "shift": SHIFT,
            "allowed_shifts": None,
            "sigmas": None,
            "guidance": exact_world.GUIDANCE,
            "guidance_form": "folded",
            "teacher_digest": None,
        }
    )


@torch.no_grad()
def drawn(network: Network, sampler: str, steps: int, noise: Tensor, seed: int) -> Tensor:
    """What a student makes of noise (N, D) in a number of steps."""
    label = exact_world.labels(len(noise))
    read = small_student.flow_map_fn if sampler == "flow_map" else small_student.velocity_fn
    fresh = randomness.generator("fresh", seed)
    return sampling.sampler(record(sampler, steps)).sample(read(network, label), noise, generator=fresh)


def of_teacher(solver: str, steps: int, noise: Tensor) -> Tensor:
    """What the teacher makes of noise (N, D) in a few steps of a solver."""
    velocity = exact_world.velocity(exact_world.labels(len(noise)))
    return sampling.sampler(record(solver, steps)).sample(velocity, noise)
