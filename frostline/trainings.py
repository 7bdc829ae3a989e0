"""What params say of a training, made into a contract before the first step and into a model folder after the last."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from frostline import averages, budgets, digests, files, models, sharding, transformer, vitals, workspace
from frostline.contract import Contract, Diffusion, LatentSpace, Process, Sampling
from frostline.engine import Outcome
from frostline.errors import Refused, WrongUse
from frostline.job import Job
from frostline.objectives import Objective, denoising, flow_matching
from frostline.params.trainings import DataParams, LoopParams, TrainParams, TunedParams
from frostline.processes import Team
from frostline.storage import Unreachable
from frostline.store import layout

Write = Callable[[Path, dict[str, Tensor], models.Base, Mapping[str, Any]], object]
"""(folder, trained weights by name, base, training) -> a model folder's files, in a folder that exists"""


def teacher_contract(run: TrainParams, space: LatentSpace) -> Contract:
    """What a model trained on data will be: guided from outside, in any number of steps."""
    _require_clips(run, space)
    return Contract(
        latent_space=space,
        process=process(run, patch_size=run.model.patch_size),
        sampling=sampling(run, scales=(run.sampling.guidance,), form="external", teacher=None),
    )


def tuned_contract(run: TunedParams, space: LatentSpace, start: Contract) -> Contract:
    """What a model that goes on from another will be, of the rows and sigmas of its own.

    It predicts what that did, or what params say: weights that knew epsilon can learn v (Lin et al., arXiv:2305.08891).
    """
    _require_clips(run, space)
    learned = process_of(start)
    own = process(run, patch_size=learned.patch_size)
    names = ["shift", "draws", "buckets", "conditioning", "context"]
    names += [] if run.prediction is None else ["prediction", "diffusion"]
    changed = {name: getattr(own, name) for name in names}
    return Contract(
        latent_space=space,
        process=learned.model_copy(update=changed),
        sampling=sampling(run, scales=(run.sampling.guidance,), form="external", teacher=None),
    )


def steered(meaning: Contract, away: str | None) -> Contract:
    """The same model with guidance away from a prompt that its caches hold; None for the null prompt."""
    if away is None or meaning.sampling is None:
        return meaning
    return meaning.model_copy(update={"sampling": meaning.sampling.model_copy(update={"negative_prompt": away})})


def process(loop: LoopParams, *, patch_size: tuple[int, int, int]) -> Process:
    """What a network of these params learns to predict, and at which sigmas."""
    own = loop if isinstance(loop, DataParams) else None
    return Process(
        prediction=(own and own.prediction) or "velocity",
        diffusion=Diffusion(**own.diffusion.model_dump()) if own and own.diffusion else None,
        shift=loop.shift,
        draws=loop.draws,
        patch_size=patch_size,
        conditioning="none" if loop.context is None else "context",
        context=loop.context,
        buckets=tuple(sorted(layout.bucket_of(name) for name in loop.buckets)),
    )


def objective_name(process: Process) -> Literal["flow_matching", "denoising"]:
    """What a network is trained by on data alone."""
    return "flow_matching" if process.prediction == "velocity" else "denoising"


def objective(process: Process) -> Objective:
    """The loss of that name."""
    learning = flow_matching if objective_name(process) == "flow_matching" else denoising
    return learning.objective(process)


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
    print(f"{job.name}: {'; '.join(_steps(job))}", flush=True)


def _steps(job: Job) -> list[str]:
    """What a step of each bucket is, and how many of the steps are of it."""
    buckets, space, patch = job.buckets, job.dataset.space, process_of(job.contract).patch_size
    whole = sum(share.share for share in buckets.values())
    each = {name: budgets.row_tokens(name, space, patch) for name in buckets}
    return [
        f"{share.share / whole:.0%} of the steps are {share.batch} x {name} ({share.batch * each[name]:,} tokens)"
        for name, share in buckets.items()
    ]


def process_of(meaning: Contract) -> Process:
    """The process part of a training's contract; raises Refused if there is none."""
    if meaning.process is None:
        raise Refused("the contract has no process part: what the network is to predict is unknown")
    return meaning.process


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
    part = {} if write is None else sharding.whole(averages.moving(outcome.network), leads=job.team.leads)
    if not job.team.leads:
        if write is None:
            models.give_weights(outcome.network.state_dict())
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
            models.save(beside, outcome.network, job.contract, where, training)
        else:
            write(beside, part, where, training)
        files.write_text(beside / "curve.tsv", _table(outcome.progress.curve))
        files.write_text(beside / "validation.tsv", _table(outcome.progress.validation))
        files.write_text(beside / "sigmas.tsv", _table(outcome.progress.by_sigma))
        files.write_json(beside / vitals.FILE, vitals.stated(outcome.progress.checks))
        if outcome.progress.proof:
            files.write_text(beside / "proof.tsv", _table(outcome.progress.proof))
        if (job.work / "preview").exists():  # there are none without preview prompts
            shutil.copytree(job.work / "preview", beside / "preview")
    shutil.rmtree(job.work)
    _clear(job)
    _conclude(job, outcome)


def _conclude(job: Job, outcome: Outcome) -> None:
    """Say how the training went."""
    progress = outcome.progress
    print(
        f"{job.name}: {progress.step} steps, {len(progress.skipped)} of them left out; "
        f"{outcome.maturity:.2%} of the averaged weights is not where they began",
        flush=True,
    )
    for point in progress.proof[-1:]:
        said = ", ".join(f"{name} {value:.3g}" for name, value in point.items() if name != "step")
        print(f"{job.name}: its samples beside its teacher's of the same noise: {said}", flush=True)
    if progress.step < job.params.steps:
        print(f"{job.name}: unfinished, {progress.step} of {job.params.steps} steps; it cannot be registered")


def _clear(job: Job) -> None:
    """Give up the checkpoints in a store, too; the model is made, so nothing is lost where that does not answer."""
    if job.mirror is None:
        return
    try:
        job.mirror.clear()
    except Unreachable as error:
        print(f"{job.name}: its checkpoints stay in {job.mirror.address}: {error}", flush=True)


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
