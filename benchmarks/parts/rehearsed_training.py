"""Steps of trainings of published sizes on cards of a size: LoRA beside frozen bases, a student of two experts."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from benchmarks import Frame
from benchmarks.parts import card, gpu_steps, latent_rows, random_models, scratch, small_training
from benchmarks.parts.synthetic_cache import Kind
from frostline import processes, sharding, trainings
from frostline.dataset import Dataset
from frostline.job import Job
from frostline.objectives import teaching, velocity_matching
from frostline.params.trainings import AdapterParams, ComputeParams, LaunchParams
from frostline.processes import Team
from frostline.velocities import Low

STEPS, QUICK_STEPS, ROWS = 50, 2, 200
RANK, QUICK_RANK, TARGETS = 32, 2, ("to_q", "to_k", "to_v", "to_out.0")
ADAMW = {"muon_rate": None, "adamw_rate": 1e-4, "weight_decay": 0.0, "warmup_steps": 0, "schedule": "constant"}
EIGHT_BITS = {**ADAMW, "clip": 1.0, "state_bits": 8}
STUDENT, TEACHER = "wan2.1-t2v-1.3b", "wan2.2-t2v-a14b"
BOUNDARY, GUIDANCE = 0.875, (4.0, 3.0)

PICTURES = Kind(bucket=(1, 1024, 1024), tokens=60, text_dim=4096, text_length=512)
DEEPER = dataclasses.replace(PICTURES, z_dim=48, spatial_stride=16)  # those of Wan2.2's VAE


class Fit(NamedTuple):
    """A LoRA that is to fit a card."""

    figure: str
    family: str
    card: int  # GB
    batch: int
    kind: Kind = PICTURES
    frozen_dtype: Literal["float8_e4m3fn"] | None = None


FITS = (
    Fit("adapter_1.3b", "wan2.1-t2v-1.3b", 24, 4),
    Fit("adapter_5b", "wan2.2-ti2v-5b", 48, 4, DEEPER),
    Fit("adapter_a14b", TEACHER, 80, 4),
    Fit("adapter_a14b_float8", TEACHER, 24, 1, frozen_dtype="float8_e4m3fn"),
)


def adapters(frame: Frame) -> None:
    """LoRA of rank 32 beside bases that are held as their files, or in float8."""
    for fit in FITS:
        rank = QUICK_RANK if frame.quick else RANK
        params: dict[str, Any] = {"rank": rank, "alpha": float(rank), "targets": TARGETS}
        adapter = AdapterParams(**params, frozen_dtype=fit.frozen_dtype)
        held = fit.frozen_dtype or "bfloat16"
        what = f"rank {rank} on {', '.join(TARGETS)} beside {fit.family} in {held}, AdamW in 8 bits, batch {fit.batch}"
        _run(frame, fit, what, random_models.beside(adapter), functools.partial(_adapted, adapter), sharded=True)


def _adapted(adapter: AdapterParams, job: Job) -> Job:
    return dataclasses.replace(job, network=random_models.adapted(job.network, adapter))


def distill(frame: Frame) -> None:
    """A student learns the guided velocity of two experts that wait on the host."""
    device = card.device(frame)
    fit = Fit("distill", STUDENT, 80, 4)
    if card.absent(frame, fit.figure, fit.card):
        return
    values, kind = random_models.shape(TEACHER, quick=frame.quick), latent_rows.SMALL if frame.quick else PICTURES
    experts = [
        random_models.drawn(values, kind.space, device, held=random_models.frozen, seed=seed) for seed in range(2)
    ]

    def taught(job: Job) -> Job:
        compute = job.params.compute.model_copy(update={"recompute": False})
        high, low = (sharding.place(one, compute, job.team, offload=True) for one in experts)
        process = trainings.process_of(job.contract)
        taught = teaching.guided(
            process,
            teacher=high,
            null=job.dataset.negative().to(job.team.device),
            scale=GUIDANCE[0],
            interval=(0.0, 1.0),
            low=Low(network=low, guidance=GUIDANCE[1], boundary=BOUNDARY),
            agreed=job.team.any,
        )
        return dataclasses.replace(job, objective=velocity_matching.objective(process, taught=taught))

    what = f"{STUDENT} from both experts of {TEACHER} on the host, guidance 4 and 3, AdamW in 8 bits, batch {fit.batch}"
    _run(frame, fit, what, random_models.as_drawn, taught, sharded=False)


def _run(
    frame: Frame,
    fit: Fit,
    what: str,
    held: random_models.Held,
    ready: Callable[[Job], Job],
    *,
    sharded: bool,
) -> None:
    """Steps of one training; ``held`` is how drawn weights are held, ``ready`` makes of its job what is run."""
    if card.absent(frame, fit.figure, fit.card):
        return
    device, kind = card.device(frame), latent_rows.SMALL if frame.quick else fit.kind
    values, steps = random_models.shape(fit.family, quick=frame.quick), QUICK_STEPS if frame.quick else STEPS
    launch = LaunchParams(device="cpu" if frame.quick else "cuda", nodes=1, gpus_per_node=1, rendezvous=None)
    made = random_models.drawn(values, kind.space, device, held=held)
    with (
        scratch.folder(frame) as folder,
        processes.joined(launch, sharded=sharded) as team,
        card.of(frame, fit.figure, fit.card, what) as used,
    ):
        job = ready(dataclasses.replace(_job(folder, kind, values, fit.batch, steps, team), network=made))
        each, _ = gpu_steps.timed(job, steps)
        used.steps, used.seconds = steps, each * steps


def _job(folder: Path, kind: Kind, model: dict[str, Any], batch: int, steps: int, team: Team) -> Job:
    """A training on made-up rows, whose network is without numbers yet."""
    dataset = Dataset(*small_training.data(folder, kind, ROWS))
    compute = ComputeParams(dtype="auto", accumulate=1, recompute=True, compile=False).model_dump()
    planned = gpu_steps.WARM + steps + 1
    given: dict[str, Any] = {
        "batch": batch,
        "steps": planned,
        "model": model,
        "compute": compute,
        "optimizer": EIGHT_BITS,
    }
    with torch.device("meta"):
        job = small_training.job(folder / "work", dataset, small_training.params(kind, **given))
    return dataclasses.replace(job, team=team)
