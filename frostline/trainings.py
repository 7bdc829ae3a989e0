"""What params say of a training, made into a contract before the first step and into a model folder after the last."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from diffusers import WanTransformer3DModel
from torch import Tensor

from frostline import averages, digests, files, models, sharding, transformer, workspace
from frostline import contract as contracts
from frostline.contract import Contract, LatentSpace, Process, Sampling
from frostline.engine import Outcome
from frostline.errors import Refused, WrongUse
from frostline.job import Job
from frostline.params.trainings import LoopParams, StudentParams, TrainParams, TunedParams
from frostline.processes import Team
from frostline.store import layout

Write = Callable[[Path, dict[str, Tensor], models.Base, Mapping[str, Any]], object]
"""(folder, trained weights by name, base, training) -> a model folder's files, in a folder that exists"""


def teacher_contract(run: TrainParams, space: LatentSpace) -> Contract:
    """What a model trained by flow matching will be: guided from outside, in any number of steps."""
    _require_clips(run, space)
    return Contract(
        latent_space=space,
        process=process(run, patch_size=run.model.patch_size),
        sampling=sampling(run, scales=(run.sampling.guidance,), form="external", teacher=None),
    )


def tuned_contract(run: TunedParams, space: LatentSpace, start: Contract) -> Contract:
    """What a model that goes on from another will be: it predicts what that did, of the rows and sigmas of its own."""
    _require_clips(run, space)
    learned = process_of(start)
    own = process(run, patch_size=learned.patch_size)
    changed = {name: getattr(own, name) for name in ("shift", "draws", "buckets", "conditioning", "context")}
    return Contract(
        latent_space=space,
        process=learned.model_copy(update=changed),
        sampling=sampling(run, scales=(run.sampling.guidance,), form="external", teacher=None),
    )


def student_contract(student: StudentParams, space: LatentSpace, teacher: models.Model) -> Contract:
    """What a student with its teacher's guidance folded in will be: one evaluation a step, in any number of steps.

    It is one network for all sigmas, also where its teacher is two experts.
    """
    theirs, _ = teacher.sampled()
    return Contract(
        latent_space=space,
        process=process(student, patch_size=theirs.patch_size),
        sampling=sampling(student, scales=student.scales, form="folded", teacher=teacher.training.weights_digest),
    )


def steered(meaning: Contract, away: str | None) -> Contract:
    """The same model with guidance away from a prompt that its caches hold; None for the null prompt."""
    if away is None or meaning.sampling is None:
        return meaning
    return meaning.model_copy(update={"sampling": meaning.sampling.model_copy(update={"negative_prompt": away})})


def process(loop: LoopParams, *, patch_size: tuple[int, int, int]) -> Process:
    """What a network of these params learns to predict, and at which sigmas."""
    return Process(
        shift=loop.shift,
        draws=loop.draws,
        patch_size=patch_size,
        conditioning="none" if loop.context is None else "context",
        context=loop.context,
        buckets=tuple(sorted(layout.bucket_of(name) for name in loop.buckets)),
    )


def _require_clips(loop: LoopParams, space: LatentSpace) -> None:
    """Raise WrongUse for a context that no clip goes on from."""
    longest = max(space.shape(layout.bucket_of(name))[1] for name in loop.buckets)
    if loop.context is not None and loop.context >= longest:
        raise WrongUse(
            f"context {loop.context}: clips of {sorted(loop.buckets)} have {longest} latent frames at most, so nothing "
            "is left to learn; give fewer, or a bucket of longer clips"
        )


def sampling(
    loop: LoopParams, *, scales: Sequence[float], form: Literal["external", "folded"], teacher: str | None
) -> Sampling:
    """How a model of these params is sampled; ``scales`` are its guidance, two if those of a teacher's experts."""
    high, *low = scales
    wanted = loop.sampling
    return Sampling(
        sampler=wanted.sampler,
        rounds_timesteps=wanted.sampler == "unipc",
        steps=wanted.steps,
        allowed_steps=None,
        shift=wanted.shift,
        allowed_shifts=None,
        sigmas=None,
        guidance=high,
        guidance_low=low[0] if low else None,
        guidance_form=form,
        teacher_digest=teacher,
    )


def parameters(job: Job) -> dict[str, int]:
    """Counts of trainable, frozen and all parameters; those of VAE and text encoder were counted by the cache.

    Those of the transformer are frozen where an adapter is trained beside them.
    """
    frozen, counts = job.dataset.frozen_parameters, transformer.parameters(job.network)
    beside = counts["all"] - counts["trainable"]
    return {
        "trainable": counts["trainable"],
        **({"frozen_transformer": beside} if beside else {}),
        "frozen_vae": frozen["vae"],
        "frozen_text": frozen["text_encoder"],
        "total": counts["all"] + frozen["vae"] + frozen["text_encoder"],
    }


def announce(job: Job) -> None:
    """Say what moves and what does not, before the first step; one of several processes says it."""
    if not job.team.leads:
        return
    counts = parameters(job)
    beside = f"{counts['frozen_transformer']:,} (transformer) + " if "frozen_transformer" in counts else ""
    unloaded = "those of VAE and text are" if beside else "the frozen ones are"
    print(
        f"{job.name}: trainable {counts['trainable']:,} / frozen {beside}{counts['frozen_vae']:,} (VAE) + "
        f"{counts['frozen_text']:,} (text) / total {counts['total']:,} parameters; {unloaded} not loaded",
        flush=True,
    )


def process_of(meaning: Contract) -> Process:
    """The process part of a training's contract; raises Refused if there is none."""
    if meaning.process is None:
        raise Refused("the contract has no process part: what the network is to predict is unknown")
    return meaning.process


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
    """Raise Refused if params speak of two experts to a teacher of one network, or of one guidance to a teacher of two.

    Each expert's guidance is folded in where that expert serves, so there are as many numbers as networks.
    """
    _, sampled = teacher.sampled()
    stated = f"guidance: {_listed(student.scales)}"
    if teacher.low is None and len(student.scales) > 1:
        raise Refused(
            f"{teacher.folder}: one network, and the student says {stated}: the second is the guidance of an expert "
            "that is not there; give one number"
        )
    if teacher.low is None and student.start_expert is not None:
        raise Refused(
            f"{teacher.folder}: one network, and the student says start_expert: {student.start_expert}; leave it out"
        )
    if teacher.low is not None and len(student.scales) == 1:
        raise Refused(
            f"{teacher.folder}: two experts, and the student says {stated}: give the high-noise expert's and the "
            f"low-noise expert's, guidance: {_listed(sampled.scales)} as the teacher's contract has it"
        )


def begun(teacher: models.Model, student: StudentParams) -> tuple[WanTransformer3DModel, dict[str, str]]:
    """The student's network, from layers of its teacher, or of one of two experts; and its tensors' sources there.

    Of two experts it is the high-noise one unless params say otherwise: at the published shift about seven in ten of
    the sigmas that are drawn are its own. The sources are named from the teacher's folder then.
    """
    if teacher.low is None:
        return transformer.from_layers(teacher.transformer, student.layers)
    low = student.start_expert == "low_noise"
    network, sources = transformer.from_layers(teacher.low if low else teacher.transformer, student.layers)
    folder = "transformer_2" if low else "transformer"
    return network, {name: f"{folder}/{source}" for name, source in sources.items()}


def work_folder(team: Team, stage: str, identity: Mapping[str, Any]) -> Path:
    """The folder of a training's work in progress, the same for all its processes, tidied up by the one that leads."""
    key = digests.of_json(identity)
    team.first(lambda: workspace.work_folder(stage, key))
    return workspace.WORK / stage / key


def publish(
    folder: Path,
    job: Job,
    outcome: Outcome,
    *,
    stage: str,
    objective: str,
    base: str,
    start: str | None = None,
    sources: Mapping[str, str] | None = None,
    write: Write | None = None,
) -> None:
    """Write the finished model with the curves and previews of its training, and give up the work folder.

    ``start`` is the digest of the weights it went on from, ``sources`` the teacher's tensors it was made of, ``write``
    how a model is written of which a part was trained. All processes give their part of the weights; the one that leads
    writes.
    """
    trained = outcome.network.state_dict() if write is None else averages.moving(outcome.network)
    weights = sharding.whole(trained, leads=job.team.leads)
    if not job.team.leads:
        return
    space, record = job.contract.latent_space, job.contract.sampling
    training = {
        "stage": stage,
        "steps_planned": job.params.steps,
        "steps_done": outcome.progress.step,
        "parameters": parameters(job),
        "dataset_digest": job.dataset.digest,
        "ema_decay": job.params.ema_decay,
        "objective": objective,
        "teacher_digest": record.teacher_digest if record else None,
        "tensor_sources": dict(sources) if sources is not None else None,
        "start_digest": start,
    }
    where = models.Base(path=base, vae_digest=space.vae_digest, text_encoder_digest=space.text_encoder_digest)
    with files.new_folder(folder) as beside:
        if write is None:
            models.save(beside, outcome.network, job.contract, where, training, weights=weights)
        else:
            write(beside, weights, where, training)
        files.write_text(beside / "curve.tsv", _table(outcome.progress.curve))
        files.write_text(beside / "validation.tsv", _table(outcome.progress.validation))
        files.write_text(beside / "sigmas.tsv", _table(outcome.progress.by_sigma))
        if (job.work / "preview").exists():  # there are none without preview prompts
            shutil.copytree(job.work / "preview", beside / "preview")
    shutil.rmtree(job.work)
    skipped, total = len(outcome.progress.skipped), outcome.progress.step
    print(
        f"{job.name}: {total} steps, {skipped} of them left out; "
        f"{outcome.maturity:.2%} of the averaged weights is not where they began",
        flush=True,
    )
    if outcome.progress.step < job.params.steps:
        print(f"{job.name}: unfinished, {outcome.progress.step} of {job.params.steps} steps; it cannot be registered")


def _listed(scales: Sequence[float]) -> str:
    return f"{scales[0]:g}" if len(scales) == 1 else "[" + ", ".join(f"{scale:g}" for scale in scales) + "]"


def _table(rows: Sequence[Mapping[str, float | None]]) -> str:
    """Rows as tab-separated values, the step first; eight digits, which float32 losses do not exceed.

    A value that there is none of is left empty.
    Rows that came back from a checkpoint hold their columns in another order than those made since.
    """
    names = sorted(rows[0], key=lambda name: (name != "step", name))
    lines = ["\t".join(names)] + ["\t".join(_word(row[name]) for name in names) for row in rows]
    return "\n".join(lines) + "\n"


def _word(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"
