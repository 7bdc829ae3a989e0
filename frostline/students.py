"""Students: what they must be, begun from their teacher's layers, and what each objective asks of its rows.

velocity_matching    any number of steps, from latents; a velocity
trajectory_matching  few steps, from what the teacher was seen to do; a flow map
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import WanTransformer3DModel

from frostline import contract as contracts
from frostline import models, trainings, transformer
from frostline.contract import Contract, LatentSpace, Process, Sampling
from frostline.dataset import Dataset, Trajectories
from frostline.errors import Refused, WrongUse
from frostline.networks import Transformer
from frostline.objectives import Objective, trajectory_matching, velocity_matching
from frostline.objectives.times import Jumps
from frostline.params.trainings import StudentParams
from frostline.processes import Team

NEAR = 1e-9  # of two guidances that are one


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What a student is asked, and at which sigmas."""

    objective: Objective
    jumps: Jumps | None = None  # None: at those its contract draws


def contract(student: StudentParams, dataset: Dataset, teacher: models.Model) -> Contract:
    """What a student with its teacher's guidance folded in will be: one evaluation a step.

    It is one network for all sigmas, also where its teacher is two experts. One of few steps is a flow map, which was
    taught the points its trajectories have: it may be sampled in as many steps as divide theirs.
    """
    theirs, _ = teacher.sampled()
    process = trainings.process(student, patch_size=theirs.patch_size)
    sampled = trainings.sampling(student, scales=student.scales, form="folded", teacher=teacher.training.weights_digest)
    if student.objective == "trajectory_matching":
        process = process.model_copy(update={"prediction": "mean_velocity"})
        sampled = _in_few_steps(student, sampled, _kept(student, dataset))
    meaning = Contract(latent_space=dataset.space, process=process, sampling=sampled)
    return trainings.steered(meaning, dataset.negative_prompt)


def _in_few_steps(student: StudentParams, sampled: Sampling, kept: Trajectories) -> Sampling:
    """How a flow map of these points is sampled."""
    count = len(kept.sigmas) - 1
    allowed = tuple(steps for steps in range(1, count + 1) if count % steps == 0)
    if student.shift != kept.shift:
        raise WrongUse(
            f"shift {student.shift:g}: the points of {student.data} were made at shift {kept.shift:g}; say the same"
        )
    if sampled.steps not in allowed or sampled.shift != kept.shift:
        raise WrongUse(
            f"sampling: steps {sampled.steps} at shift {sampled.shift:g}, and the points of {student.data} allow "
            f"{list(allowed)} steps at shift {kept.shift:g}; ask for those, or have other points kept"
        )
    changed = {"allowed_steps": allowed, "allowed_shifts": (kept.shift,), "sigmas": kept.sigmas[:-1]}
    return sampled.model_copy(update=changed)


def _kept(student: StudentParams, dataset: Dataset) -> Trajectories:
    """What the rows of a dataset are points of; Refused if they are latents."""
    if dataset.trajectories is None:
        raise Refused(
            f"{student.data}: holds latents, and {student.objective} learns from trajectories of its teacher: name "
            "data/trajectories/NAME, of one of the `trajectories` in params.yaml"
        )
    return dataset.trajectories


def require_rows(student: StudentParams, dataset: Dataset, teacher: models.Model) -> None:
    """Raise Refused if rows are not what the objective learns from, or are another teacher's."""
    if student.objective == "velocity_matching":
        if dataset.trajectories is not None:
            raise Refused(f"{student.data}: holds trajectories, and velocity_matching learns on latents: data/latents")
        return
    kept = _kept(student, dataset)
    if kept.teacher_digest != teacher.training.weights_digest:
        raise Refused(
            f"{student.data}: of a teacher with weights {kept.teacher_digest}, and {teacher.folder} has "
            f"{teacher.training.weights_digest}: name the teacher they were made with"
        )
    ours = (*student.scales, *student.guidance_interval)
    theirs = (*kept.guidance, *kept.guidance_interval)
    if len(ours) != len(theirs) or any(abs(a - b) > NEAR for a, b in zip(ours, theirs, strict=False)):
        raise Refused(
            f"{student.data}: made under guidance {_listed(kept.guidance)} in {list(kept.guidance_interval)}, and the "
            f"student says {_listed(student.scales)} in {list(student.guidance_interval)}: guidance is in the rows, so "
            "say the same"
        )


def learning(student: StudentParams, dataset: Dataset, teacher: models.Model, process: Process, team: Team) -> Learning:
    """What the student is asked; the teacher is where ``team`` computes, if it is asked at all."""
    if student.objective == "trajectory_matching":
        sigmas = _kept(student, dataset).sigmas
        return Learning(objective=trajectory_matching.objective(process, sigmas=sigmas), jumps=Jumps(sigmas=sigmas))
    return Learning(
        objective=velocity_matching.objective(
            process,
            teacher=teacher.transformer,
            null=dataset.negative().to(team.device),
            scale=student.scales[0],
            interval=student.guidance_interval,
            low=teacher.second(student.scales[-1]),
            agreed=team.any,
        )
    )


def require_teacher(teacher: models.Model, space: LatentSpace) -> None:
    """Raise Refused, naming each field, if a teacher lives in another latent space than the data or is unfinished."""
    theirs = teacher.contract.latent_space
    if teacher.training.stage == models.PUBLISHED:  # it does not know how latents are stored here
        theirs = theirs.stored_as(space)
    contracts.require_same(
        space,
        theirs,
        ours_is="the latents",
        theirs_is=str(teacher.folder),
        remedy="a student learns from a teacher of its own latent space: cache with the teacher's base, or train one",
    )
    learned, sampled = teacher.sampled()
    if learned.conditioning != "none":
        raise Refused(
            f"{teacher.folder}: it continues clips; students of such teachers are not built yet: distil from one that "
            "makes them from words alone"
        )
    if learned.prediction != "velocity":
        raise Refused(
            f"{teacher.folder}: it predicts {learned.prediction}; students of such teachers are not built yet: distil "
            "from one that predicts a velocity"
        )
    if sampled.guidance_form == "folded":
        raise Refused(
            f"{teacher.folder}: guidance {sampled.guidance:g} is folded into its weights and would be applied twice; "
            "distil from the teacher it learned from"
        )
    if not teacher.training.complete:
        done, planned = teacher.training.steps_done, teacher.training.steps_planned
        raise Refused(f"{teacher.folder}: unfinished, {done} of {planned} steps: finish its training first")


def require_experts(teacher: models.Model, student: StudentParams) -> None:
    """Raise Refused if params speak of two experts to a teacher of one network, or of one scale to a teacher of two."""
    require_scales(teacher, student.scales, "the student")
    if teacher.low is None and student.start_expert is not None:
        raise Refused(
            f"{teacher.folder}: one network, and the student says start_expert: {student.start_expert}; leave it out"
        )


def require_scales(teacher: models.Model, scales: Sequence[float], whose: str) -> None:
    """Raise Refused unless there are as many numbers as networks: each expert is guided where it serves."""
    _, sampled = teacher.sampled()
    stated = f"guidance: {_listed(scales)}"
    if teacher.low is None and len(scales) > 1:
        raise Refused(
            f"{teacher.folder}: one network, and {whose} says {stated}: the second is the guidance of an expert "
            "that is not there; give one number"
        )
    if teacher.low is not None and len(scales) == 1:
        raise Refused(
            f"{teacher.folder}: two experts, and {whose} says {stated}: give the high-noise expert's and the "
            f"low-noise expert's, guidance: {_listed(sampled.scales)} as the teacher's contract has it"
        )


def begun(teacher: models.Model, student: StudentParams) -> tuple[Transformer, dict[str, str]]:
    """The student's network, from layers of its teacher, or of one of two experts; and its tensors' sources there.

    Of two experts it is the high-noise one unless params say otherwise: at the published shift about seven in ten of
    the sigmas that are drawn are its own. The sources are named from the teacher's folder then.
    """
    low = student.start_expert == "low_noise"
    begins = teacher.low if teacher.low is not None and low else teacher.transformer
    if not isinstance(begins, WanTransformer3DModel):
        raise Refused(f"{teacher.folder}: it is a flow map, and students begin as velocities: name its own teacher")
    maps = student.objective == "trajectory_matching"
    of_layers = transformer.flow_map_from_layers if maps else transformer.from_layers
    network, sources = of_layers(begins, student.layers)
    if teacher.low is None:
        return network, sources
    folder = "transformer_2" if low else "transformer"
    return network, {name: f"{folder}/{source}" for name, source in sources.items()}


def _listed(scales: Sequence[float]) -> str:
    return f"{scales[0]:g}" if len(scales) == 1 else "[" + ", ".join(f"{scale:g}" for scale in scales) + "]"
