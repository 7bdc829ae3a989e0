"""What each objective asks of a student: a loss of its rows, the sigmas they are asked at, the networks beside it."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from frostline import budgets, models, randomness, sampling, schedule, sharding, students
from frostline.companions import Companion, Critic, Target, Warmth
from frostline.contract import Process
from frostline.dataset import Batch, Dataset
from frostline.errors import FrostlineError, WrongUse
from frostline.networks import Transformer
from frostline.objectives import (
    Objective,
    consistency,
    critic,
    distribution_matching,
    flow_map,
    teaching,
    trajectory_matching,
    velocity_matching,
)
from frostline.objectives.flow_map import Ends
from frostline.objectives.teaching import Teaching
from frostline.objectives.times import Beside, Between, Jumps, Sigmas, Simulated, Times
from frostline.params.trainings import StudentParams
from frostline.processes import Team
from frostline.proofs import Proof

T = TypeVar("T")
PROVEN = 64  # rows of trajectories that are held out
PAIR = 2  # samples that can differ


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What a student is asked, at which times, and what moves beside it."""

    objective: Objective
    times: Times | None = None  # None: those its contract draws
    companions: tuple[Companion, ...] = ()
    proof: Proof | None = None


@dataclass(frozen=True, kw_only=True)
class Pupil:
    """A student before its first step, and all that it learns from."""

    params: StudentParams
    network: Transformer  # not placed yet
    process: Process
    dataset: Dataset
    taught: Teaching | None  # None: its teacher is not asked
    critic: Transformer | None  # not placed yet; None: it needs none
    team: Team


def of(
    params: StudentParams, network: Transformer, process: Process, dataset: Dataset, teacher: models.Model, team: Team
) -> Learning:
    """What a student of these params learns; places the teacher where ``team`` computes, if it is asked at all."""
    beside = students.critic(teacher, params) if params.matches_distribution else None  # before the teacher is placed
    taught = None if params.follows else _taught(params, dataset, teacher, team)
    pupil = Pupil(
        params=params, network=network, process=process, dataset=dataset, taught=taught, critic=beside, team=team
    )
    return dataclasses.replace(OBJECTIVES[params.objective](pupil), proof=_proof(pupil, teacher))


def _taught(params: StudentParams, dataset: Dataset, teacher: models.Model, team: Team) -> Teaching:
    process, _ = teacher.sampled()
    compute = params.compute.model_copy(update={"recompute": False})  # nothing goes back through it
    for one in teacher.networks:
        sharding.place(one.requires_grad_(False), compute, team, offload=params.offload_teacher)
    return teaching.guided(
        process,
        teacher=teacher.transformer,
        null=dataset.negative().to(team.device),
        scale=params.scales[0],
        interval=params.guidance_interval,
        low=teacher.second(params.scales[-1]),
        agreed=team.any,
    )


def _proof(pupil: Pupil, teacher: models.Model) -> Proof | None:
    """What the teacher makes of held-out captions in the first bucket: seen before, or asked now.

    Asked, it goes as many steps as its contract says, at the student's shift, by the solver of trajectories.
    """
    params, dataset, bucket = pupil.params, pupil.dataset, min(pupil.params.buckets)
    count = (PROVEN if params.follows else 0) if params.proof_rows is None else params.proof_rows
    rows = dataset.rows(bucket, "validation")[:count].tolist()
    if len(rows) < PAIR and params.proof_rows:
        raise WrongUse(
            f"proof_rows {params.proof_rows}: {params.data} holds out {len(rows)} row(s) of {bucket}, and samples are "
            f"compared from {PAIR} on; hold out more, or leave proof_rows out"
        )
    if len(rows) < PAIR:
        return None
    parts = pupil.team.world * params.compute.accumulate
    share = budgets.resolved(params.buckets, dataset.space, pupil.process.patch_size, parts)[bucket]
    at_once, batch = max(1, share.batch // parts), dataset.batch(rows)
    if params.follows:
        noise, truth = batch.clean[:, 0].clone(), batch.clean[:, -1].clone()
    else:
        noise = randomness.normal_rows(rows, batch.shape, params.seed, "proof")
        sigmas = schedule.grid(teacher.sampled()[1].steps, params.shift)
        truth = torch.cat(
            [
                _followed(pupil, dataset.batch(rows[start : start + at_once]), noise[start : start + at_once], sigmas)
                for start in range(0, len(rows), at_once)
            ]
        )
    return Proof(noise=noise, text=batch.text, truth=truth, at_once=at_once, seed=params.seed)


def _followed(pupil: Pupil, batch: Batch, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Where the guided teacher leads noise."""
    velocity = _needed(pupil.taught)(batch.to(pupil.team.device))
    *_, truth = sampling.followed(velocity, noise.to(pupil.team.device), sigmas)
    return truth.cpu()


def _velocity_matching(pupil: Pupil) -> Learning:
    asked_at = pupil.params.asked_at or "latents"
    return Learning(
        objective=velocity_matching.objective(pupil.process, taught=_needed(pupil.taught), asked_at=asked_at)
    )


def _trajectory_matching(pupil: Pupil) -> Learning:
    sigmas = students.kept(pupil.params, pupil.dataset).sigmas
    return Learning(objective=trajectory_matching.objective(pupil.process, sigmas=sigmas), times=Jumps(sigmas=sigmas))


def _consistency(pupil: Pupil) -> Learning:
    target = Target(pupil.network, consistency.EMA_DECAY, pupil.params, pupil.team)
    objective = consistency.objective(pupil.process, taught=_needed(pupil.taught), average=target.network)
    return Learning(objective=objective, companions=(target,))


def _flow_map(pupil: Pupil) -> Learning:
    tangent = _needed(pupil.params.tangent)
    warmth = Warmth(tangent.warmup_steps)
    objective = flow_map.objective(pupil.process, taught=_needed(pupil.taught), delta=tangent.delta, warmth=warmth)
    ends = Ends(at_start=tangent.at_start, at_zero=tangent.at_zero)
    return Learning(objective=objective, times=Between(process=pupil.process, ends=ends), companions=(warmth,))


def _distribution_matching(pupil: Pupil) -> Learning:
    params, sigmas = pupil.params, students.simulated(pupil.params)
    drawn = Simulated(steps=len(sigmas), shift=params.shift)
    learned = critic.objective(pupil.process, student=pupil.network, sigmas=sigmas)
    beside = Critic(_needed(pupil.critic), learned, drawn, _needed(params.critic), params, pupil.team)
    objective = distribution_matching.objective(
        pupil.process, taught=_needed(pupil.taught), critic=beside.network, sigmas=sigmas
    )
    return Learning(objective=objective, times=drawn, companions=(beside,))


def _consistency_and_distribution(pupil: Pupil) -> Learning:
    """Both losses of a row: the first holds on to where the teacher goes, the second to what is likely there."""
    first, second = _consistency(pupil), _distribution_matching(pupil)
    weight = _needed(pupil.params.distribution_weight)

    def of_batch(network: nn.Module, batch: Batch, noise: Tensor, drawn: Tensor) -> Tensor:
        held = first.objective(network, batch, noise, drawn[:, 0])
        return held + weight * second.objective(network, batch, noise, drawn[:, 1:])

    return Learning(
        objective=of_batch,
        times=Beside(first=Sigmas(process=pupil.process), second=_needed(second.times)),
        companions=(*first.companions, *second.companions),
    )


def _needed(what: T | None) -> T:
    """What the params of an objective and ``of`` see to; raises FrostlineError if they did not."""
    if what is None:
        raise FrostlineError("an objective was begun without what it asks: see frostline/learning.py")
    return what


OBJECTIVES: Mapping[str, Callable[[Pupil], Learning]] = {
    "velocity_matching": _velocity_matching,
    "consistency": _consistency,
    "trajectory_matching": _trajectory_matching,
    "flow_map": _flow_map,
    "distribution_matching": _distribution_matching,
    "consistency_and_distribution": _consistency_and_distribution,
}
