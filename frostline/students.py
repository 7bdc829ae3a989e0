"""Students: what they must be, begun from their teacher's layers, and how each is sampled.

    objective                      makes       rows          steps
    velocity_matching              a velocity  latents       any
    consistency                    a velocity  latents       those that divide its grid, noise added between
    distribution_matching          a velocity  captions      those it learned, noise added between
    consistency_and_distribution   a velocity  latents       those it learned, noise added between
    trajectory_matching            a flow map  trajectories  those that divide their points
    flow_map                       a flow map  latents       any

What each asks of its rows stands in ``learning``.
"""

from collections.abc import Sequence

from diffusers import WanTransformer3DModel

from frostline import contract as contracts
from frostline import models, schedule, trainings, transformer
from frostline.contract import Contract, LatentSpace, Sampling
from frostline.dataset import Dataset, Trajectories
from frostline.errors import Refused, WrongUse
from frostline.networks import Transformer
from frostline.objectives import consistency, times
from frostline.params.trainings import StudentParams

NEAR = 1e-9  # of two guidances that are one


def contract(student: StudentParams, dataset: Dataset, teacher: models.Model) -> Contract:
    """What a student with its teacher's guidance folded in will be: one evaluation a step.

    It is one network for all sigmas, also where its teacher is two experts. One of few steps may be sampled in the
    numbers of steps that it was taught, at their shift.
    """
    theirs, _ = teacher.sampled()
    process = trainings.process(student, patch_size=theirs.patch_size)
    sampled = trainings.sampling(student, scales=student.scales, form="folded", teacher=teacher.training.weights_digest)
    if student.maps:
        process = process.model_copy(update={"prediction": "mean_velocity"})
    if student.follows:
        sampled = _between_points(student, sampled, kept(student, dataset))
    elif sampled.sampler == "renoise":
        sampled = _with_noise_between(student, sampled)
    meaning = Contract(latent_space=dataset.space, process=process, sampling=sampled)
    return trainings.steered(meaning, dataset.negative_prompt)


def _with_noise_between(student: StudentParams, sampled: Sampling) -> Sampling:
    """How a student is sampled that jumps to clean latents: at the sigmas it learned."""
    if sampled.shift != student.shift:
        raise WrongUse(
            f"sampling.shift {sampled.shift:g}: {student.objective} learns at shift {student.shift:g}, and no other "
            "sigmas may be visited; say the same"
        )
    if student.matches_distribution:
        visited = simulated(student)
        return sampled.model_copy(
            update={"allowed_steps": (sampled.steps,), "allowed_shifts": (student.shift,), "sigmas": visited}
        )
    allowed = times.divisors_of(consistency.STEPS)
    if sampled.steps not in allowed:
        raise WrongUse(
            f"sampling.steps {sampled.steps}: consistency learns on a grid of {consistency.STEPS} steps, which allows "
            f"{list(allowed)}; ask for one of these"
        )
    return sampled.model_copy(update={"allowed_steps": allowed, "allowed_shifts": (student.shift,)})


def simulated(student: StudentParams) -> tuple[float, ...]:
    """The sigmas at which a student makes what it learns on: those of its sampler, from noise, without the final 0."""
    return tuple(schedule.grid(student.sampling.steps, student.shift)[:-1].tolist())


def _between_points(student: StudentParams, sampled: Sampling, kept: Trajectories) -> Sampling:
    """How a flow map of these points is sampled."""
    allowed = times.divisors_of(len(kept.sigmas) - 1)
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


def kept(student: StudentParams, dataset: Dataset) -> Trajectories:
    """What the rows of a dataset are points of; Refused if they are latents."""
    if dataset.trajectories is None:
        raise Refused(
            f"{student.data}: holds latents, and {student.objective} learns from trajectories of its teacher: name "
            "data/trajectories/NAME, of one of the `trajectories` in params.yaml"
        )
    return dataset.trajectories


def require_rows(student: StudentParams, dataset: Dataset, teacher: models.Model) -> None:
    """Raise Refused if rows are not what the objective learns from, or are another teacher's."""
    if not student.follows:
        if dataset.trajectories is not None:
            raise Refused(
                f"{student.data}: holds trajectories, and {student.objective} learns on latents: data/latents"
            )
        return
    made = kept(student, dataset)
    if made.teacher_digest != teacher.training.weights_digest:
        raise Refused(
            f"{student.data}: of a teacher with weights {made.teacher_digest}, and {teacher.folder} has "
            f"{teacher.training.weights_digest}: name the teacher they were made with"
        )
    ours = (*student.scales, *student.guidance_interval)
    theirs = (*made.guidance, *made.guidance_interval)
    if len(ours) != len(theirs) or any(abs(a - b) > NEAR for a, b in zip(ours, theirs, strict=False)):
        raise Refused(
            f"{student.data}: made under guidance {_listed(made.guidance)} in {list(made.guidance_interval)}, and the "
            f"student says {_listed(student.scales)} in {list(student.guidance_interval)}: guidance is in the rows, so "
            "say the same"
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

    Of two experts the sources are named from the teacher's folder.
    """
    of_layers = transformer.flow_map_from_layers if student.maps else transformer.from_layers
    network, sources = of_layers(_begins(teacher, student), student.layers)
    if teacher.low is None:
        return network, sources
    folder = "transformer_2" if student.start_expert == "low_noise" else "transformer"
    return network, {name: f"{folder}/{source}" for name, source in sources.items()}


def critic(teacher: models.Model, student: StudentParams) -> Transformer:
    """A network of all layers that the student's come from, which is to learn what the student makes."""
    begins = _begins(teacher, student)
    return transformer.from_layers(begins, range(begins.config["num_layers"]))[0]


def _begins(teacher: models.Model, student: StudentParams) -> WanTransformer3DModel:
    """The network whose layers a student begins with; Refused if it is no velocity.

    Of two experts it is the high-noise one unless params say otherwise: at the published shift about seven in ten of
    the sigmas that are drawn are its own.
    """
    low = student.start_expert == "low_noise"
    begins = teacher.low if teacher.low is not None and low else teacher.transformer
    if not isinstance(begins, WanTransformer3DModel):
        raise Refused(f"{teacher.folder}: it is a flow map, and students begin as velocities: name its own teacher")
    return begins


def _listed(scales: Sequence[float]) -> str:
    return f"{scales[0]:g}" if len(scales) == 1 else "[" + ", ".join(f"{scale:g}" for scale in scales) + "]"
