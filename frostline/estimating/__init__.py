"""What a project will take before any of it runs: from params.yaml and configurations alone, without a weight.

Each number comes with its formula and the numbers put in (docs/estimate.md).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline import budgets
from frostline.errors import WrongUse
from frostline.estimating import bases, encoding, following, machines, memory, networks, work
from frostline.estimating.activations import Row
from frostline.estimating.bases import Base
from frostline.estimating.figures import Estimate, Figure, Stage
from frostline.estimating.machines import Machine
from frostline.estimating.memory import Bucket, Critic, Learning
from frostline.estimating.networks import Network
from frostline.estimating.rows import Rows
from frostline.objectives import velocity_matching
from frostline.params import Params
from frostline.params.trainings import BucketShare, LoopParams, StudentParams
from frostline.store import layout
from frostline.wan.families import Family


def estimate(
    settings: Params,
    machine: Machine,
    rows: Mapping[str, Rows],
    *,
    family: Family | None = None,
    caption_tokens: int | None = None,
) -> Estimate:
    """What every stage of these params takes; ``rows`` are those of each source.

    ``family`` is a published model whose configurations stand in the place of the base, which may be absent then.
    Raises WrongUse, naming what is missing or cannot be.
    """
    if caption_tokens is not None and caption_tokens < 1:
        raise WrongUse(f"--caption-tokens {caption_tokens}: at least 1")
    base = bases.of_family(family, settings.cache) if family else bases.of_folder(Path(settings.base), settings.cache)
    return Estimate(
        assumptions=tuple(machines.assumptions(machine)),
        stages=(
            *(encoding.stage(of, base, settings.cache, machine, caption_tokens) for of in rows.values()),
            *_trainings(settings, machine, base),
            *_tunings(settings, machine, base, family),
            *_trajectories(settings, machine, base, family),
            *_students(settings, machine, base, family),
        ),
    )


def _trainings(settings: Params, machine: Machine, base: Base) -> list[Stage]:
    return [
        _stage(f"train@{name}", run, networks.of_run(run.model, base.space, f"train.runs.{name}"), None, machine, base)
        for name, run in settings.train.runs.items()
    ]


def _tunings(settings: Params, machine: Machine, base: Base, family: Family | None) -> list[Stage]:
    found: list[Stage] = []
    for name, run in settings.tuned.items():
        start = networks.of_folder(run.start, settings, base.space, family)
        if start.experts > 1:
            raise WrongUse(f"tuned.{name}.start {run.start}: two experts, and one network is trained; name one that is")
        if run.adapter is not None:
            start = networks.with_adapter(start, run.adapter)
        found.append(_stage(f"tune@{name}", run, start, None, machine, base))
    return found


def _trajectories(settings: Params, machine: Machine, base: Base, family: Family | None) -> list[Stage]:
    return [
        following.stage(name, of, networks.of_folder(of.teacher, settings, base.space, family), machine, base)
        for name, of in settings.trajectories.items()
    ]


def _students(settings: Params, machine: Machine, base: Base, family: Family | None) -> list[Stage]:
    found: list[Stage] = []
    for name, student in settings.students.items():
        teacher = networks.of_folder(student.teacher, settings, base.space, family)
        network = networks.of_student(teacher, student.layers, maps=student.maps)
        asked = None if student.follows else teacher  # what it was seen to do lies there
        found.append(_stage(f"distill@{name}", student, network, asked, machine, base))
    return found


def _stage(
    name: str, loop: LoopParams, network: Network, teacher: Network | None, machine: Machine, base: Base
) -> Stage:
    learning = Learning(
        network=network,
        teacher=teacher,
        moved=networks.moved(network, loop.optimizer),
        buckets=_buckets(name, loop, network, machine, base),
        dtype=machine.dtype(loop.compute),
        accumulate=loop.compute.accumulate,
        recompute=loop.compute.recompute,
        teacher_waits=isinstance(loop, StudentParams) and loop.offload_teacher,
        critic=_critic(loop, teacher),
        **(_asked(loop) if isinstance(loop, StudentParams) else {}),
    )
    steps = loop.steps if loop.stop_at is None else min(loop.stop_at, loop.steps)
    return Stage(
        name=name,
        what=f"{networks.in_short(network)}; {steps:,} steps in {learning.dtype}",
        figures=(
            *_parameters(network, teacher),
            *memory.figures(learning, machine),
            *work.figures(learning, machine, steps),
        ),
        notes=tuple(_notes(loop, network, teacher)),
    )


def _asked(student: StudentParams) -> dict[str, Any]:
    """How often a student and its teacher are asked in a step, beside the pass that learns."""
    rollout = velocity_matching.ROLLOUT_STEPS
    return {
        "target": student.is_consistent,
        "graphs": 1 + (student.objective == "consistency_and_distribution"),
        "passes": {"flow_map": 2}.get(student.objective, 0) + rollout * (student.asked_at == "student"),
        "asked": 1 + rollout * (student.asked_at == "teacher"),
    }


def _critic(loop: LoopParams, teacher: Network | None) -> Critic | None:
    """What learns beside a student of distribution matching: a network of all its teacher's layers."""
    if not isinstance(loop, StudentParams) or loop.critic is None or teacher is None:
        return None
    whole = networks.of_student(teacher, range(teacher.config["num_layers"]))
    moved = networks.moved(whole, loop.critic.optimizer)
    return Critic(network=whole, moved=moved, updates=loop.critic.updates, jumps=loop.sampling.steps)


def _parameters(network: Network, teacher: Network | None) -> list[Figure]:
    found = [("parameters", network), *([("parameters of the teacher", teacher)] if teacher else [])]
    counted = [
        Figure(
            name=name,
            value=one.parameters * one.experts,
            unit="parameters",
            formula=f"counted from the configuration: {one.config['num_layers']} blocks of {one.block:,}, and the ends"
            + (f", of {one.experts} experts" if one.experts > 1 else ""),
        )
        for name, one in found
    ]
    if network.adapter is not None:
        sides = sum(sum(shape) for shape in network.adapted.values())
        formula = f"rank {network.adapter.rank} × {sides:,}: the sides of {len(network.adapted):,} matrices"
        counted.append(Figure(name="of them trained", value=network.trained, unit="parameters", formula=formula))
    return counted


def _buckets(name: str, loop: LoopParams, network: Network, machine: Machine, base: Base) -> list[Bucket]:
    """The buckets of a training; raises WrongUse for one that its network or its processes cannot share."""
    if not loop.buckets:
        raise WrongUse(f"{name}: buckets is empty: name at least one, e.g. 1x32x32: {{share: 1.0, batch: 32}}")
    found: list[Bucket] = []
    parts = machine.world * loop.compute.accumulate
    for bucket, said in loop.buckets.items():
        if isinstance(said, BucketShare) and said.batch % parts:
            raise WrongUse(
                f"{name}: buckets.{bucket}.batch is {said.batch}: {machine.world} processes with compute.accumulate "
                f"{loop.compute.accumulate} take it in {parts} parts, so use a multiple of {parts}"
            )
        latent = base.space.shape(layout.bucket_of(bucket))
        if latent[0] != network.config["out_channels"]:
            raise WrongUse(
                f"{name}: latents of {base.origin} have {latent[0]} channels, and {network.origin} gives "
                f"{network.config['out_channels']}: name a teacher of this base"
            )
        patch = network.config["patch_size"]
        if any(side % step for side, step in zip(latent[1:], patch, strict=True)):
            raise WrongUse(f"{name}: latents {latent[1:]} of bucket {bucket} do not divide into patches {tuple(patch)}")
        [share] = budgets.resolved({bucket: said}, base.space, tuple(patch), parts).values()
        row = Row(tokens=budgets.tokens(latent, patch), text=base.space.text_length, values=math.prod(latent))
        found.append(Bucket(name=bucket, share=share.share, batch=share.batch, row=row))
    return found


def _notes(loop: LoopParams, network: Network, teacher: Network | None) -> list[str]:
    found: list[str] = []
    if network.adapter is not None and network.adapter.offload:
        found.append("offload leaves weights, gradients, optimiser and average on the host: estimated as on the device")
    if loop.context is not None:
        found.append("a context takes a timestep for each token, 6 numbers of the width each more than is said here")
    if loop.compute.compile:
        found.append("compile keeps less than the formula says; how much less is not modelled")
    if teacher is not None and teacher.experts > 1:
        found.append("a teacher of two experts: both are counted as asked, which is so where a step has rows of both")
    if network.config["in_channels"] != network.config["out_channels"]:
        found.append("a network that sees images too is estimated only, without what it keeps and computes of them")
    return found
