"""Caches and trainings so small that a test of them takes a moment: real files, made-up latents."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frostline import (
    contract,
    dataset,
    digests,
    engine,
    files,
    learning,
    models,
    randomness,
    records,
    students,
    trainings,
    trajectories,
    transformer,
)
from frostline.contract import LatentSpace
from frostline.dataset import Batch, Dataset
from frostline.engine import Job
from frostline.objectives import flow_matching
from frostline.params import CacheParams
from frostline.params.trainings import ModelParams, StudentParams, TrainParams, TunedParams
from frostline.params.trajectories import TrajectoriesParams
from frostline.processes import ALONE, Team
from frostline.store import layout, writing
from frostline.store.layout import Caption, Item, Prompt

IMAGES, CLIPS = "1x16x16", "5x16x16"
PART = "0000000000000000.parquet"
CAPTIONS = ("", "one", "two", "three")  # the null prompt first; a text has as many tokens as its place, and one more
COUNTS = {IMAGES: {"train": 10, "validation": 3}, CLIPS: {"train": 5, "validation": 2}}
SHAPE = ModelParams(layers=2, heads=1, head_dim=12, ffn_dim=16, patch_size=(1, 1, 1))


def space(**changed: Any) -> LatentSpace:
    """A latent space with four channels and texts of up to six tokens."""
    facts: dict[str, Any] = {
        "vae_digest": "a" * 32,
        "z_dim": 4,
        "latents_mean": (-0.5, 0.0, 0.5, 1.0),
        "latents_std": (1.0, 2.0, 3.0, 0.5),
        "spatial_stride": 8,
        "temporal_stride": 4,
        "stored_dtype": "float32",
        "text_encoder_digest": "b" * 32,
        "text_dim": 8,
        "text_length": 6,
    }
    return LatentSpace(**{**facts, **changed})


def raw(seed: int, bucket: str, count: int, latent_space: LatentSpace) -> torch.Tensor:
    """Raw latents of one bucket; every row another."""
    return randomness.normal((count, *latent_space.shape(layout.bucket_of(bucket))), "tiny", seed, bucket)


def texts(latent_space: LatentSpace) -> list[torch.Tensor]:
    """Embeddings of CAPTIONS, unpadded."""
    return [randomness.normal((n + 1, latent_space.text_dim), "text", n) for n in range(len(CAPTIONS))]


def items(bucket: str, counts: Mapping[str, int], several: int = 1) -> list[Item]:
    """Items of one bucket, with captions in turn, or with ``several`` of them: the first weighs most, the last 1."""
    splits = [split for split, count in counts.items() for _ in range(count)]
    texts = len(CAPTIONS) - 1
    return [
        _item(f"{bucket}-{n}", split, [1 + (n + turn) % texts for turn in range(several)])
        for n, split in enumerate(splits)
    ]


def _item(name: str, split: str, captions: Sequence[int]) -> Item:
    return Item(
        id=name,
        latent_id=f"latent-{name}",
        item=name,
        split=split,
        start=0,
        source_width=16,
        source_height=16,
        source_frames=5,
        source_fps=0.0,
        captions=tuple(CAPTIONS[caption] for caption in captions),
        weights=tuple(float(n) for n in range(len(captions), 0, -1)),
        attributes="{}",
        text_ids=tuple(f"text-{caption}" for caption in captions),
        text_lengths=tuple(caption + 1 for caption in captions),
    )


def prompts(split: str) -> list[Prompt]:
    """Every caption of CAPTIONS but the null prompt, without media."""
    return [
        Prompt(id=f"{split}-{n}", split=split, caption=CAPTIONS[n], text_id=f"text-{n}", text_length=n + 1)
        for n in range(1, len(CAPTIONS))
    ]


def write_items(path: Path, latent_space: LatentSpace, bucket: str, members: Sequence[Item], raw: torch.Tensor) -> None:
    """Write a part of items with their raw latents."""
    data = writing.latent_bytes(raw, latent_space)
    facts, found = layout.table(Item, members), writing.row_digests(data)
    writing.write_items(path, latent_space, layout.bucket_of(bucket), facts, data, found)


def write_texts(folder: Path, latent_space: LatentSpace) -> None:
    """Write CAPTIONS and their texts as a cache's only part of them."""
    found = [writing.text_bytes(text, latent_space) for text in texts(latent_space)]
    captions = [
        Caption(text_id=f"text-{n}", caption=caption, tokens=n + 1, text_digest=digests.of_bytes(found[n].data))
        for n, caption in enumerate(CAPTIONS)
    ]
    facts = layout.table(Caption, captions)
    writing.write_text(folder / "text" / PART, latent_space, facts, np.concatenate(found))
    writing.write_captions(folder / "captions" / PART, latent_space, facts)


def cache(
    folder: Path,
    *,
    seed: int = 0,
    latent_space: LatentSpace | None = None,
    prompts: Sequence[str] = ("two",),
    several: int = 1,
    negative: str | None = None,
) -> Path:
    """Write a source's cache of COUNTS."""
    latent_space = latent_space or space()
    for bucket, counts in COUNTS.items():
        members = items(bucket, counts, several)
        made = raw(seed, bucket, len(members), latent_space)
        write_items(folder / "items" / bucket / PART, latent_space, bucket, members, made)
    rows = {f"{bucket}/{split}": n for bucket, counts in COUNTS.items() for split, n in counts.items()}
    write_texts(folder, latent_space)
    seal(folder, latent_space, rows, prompts, negative)
    return folder


def prompts_cache(folder: Path, splits: Sequence[str] = ("train", "validation")) -> Path:
    """Write the cache of a source that has prompts and no media."""
    rows = [prompt for split in splits for prompt in prompts(split)]
    writing.write_prompts(folder / "prompts" / PART, space(), layout.table(Prompt, rows))
    write_texts(folder, space())
    seal(folder, space(), {f"prompts/{split}": len(CAPTIONS) - 1 for split in splits})
    return folder


def seal(
    folder: Path,
    latent_space: LatentSpace,
    rows: Mapping[str, int],
    previews: Sequence[str] = ("two",),
    negative: str | None = None,
) -> None:
    """List what is in a cache's folder, as somebody would who trusts digests alone."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))
    ids = {prompt: f"text-{CAPTIONS.index(prompt)}" for prompt in previews}
    facts = {"rows": dict(rows), "prompts": ids, "frozen_parameters": {"vae": 7, "text_encoder": 5}}
    facts |= {"negative": {negative: f"text-{CAPTIONS.index(negative)}"}} if negative else {}
    writing.seal(folder, latent_space, names, facts, {})


def data(folder: Path, **facts: Any) -> Dataset:
    """One cache, indexed and opened."""
    cache(folder / "latents" / "tiny", **facts)
    files.write_json(folder / "latents.json", dataset.index(folder / "latents", ["tiny"]))
    return Dataset(folder / "latents.json", folder / "latents")


def cache_params(**changed: Any) -> CacheParams:
    """Caches made in small batches, as params.yaml would say it."""
    values: dict[str, Any] = {
        "encode_batch": 2,
        "text_batch": 4,
        "most_pixels": 1 << 20,
        "device": "cpu",
        "threads": 1,
        "encode_dtype": "float32",
        "stored_dtype": "bfloat16",
        "preview_prompts": ["zero"],
    }
    return records.parse(CacheParams, {**values, **changed}, origin="tests/tiny.py")


def train_params(**changed: Any) -> TrainParams:
    """A training of six steps, as params.yaml would say it."""
    values: dict[str, Any] = {
        "model": SHAPE.model_dump(),
        "steps": 6,
        "stop_at": None,
        "buckets": {IMAGES: {"share": 0.5, "batch": 4}, CLIPS: {"share": 0.5, "batch": 2}},
        "draws": "logit_normal",
        "shift": 3.0,
        "caption_dropout": 0.3,
        "optimizer": {
            "muon_rate": 0.02,
            "adamw_rate": 0.003,
            "weight_decay": 0.01,
            "warmup_steps": 2,
            "schedule": "cosine",
            "clip": 1.0,
        },
        "ema_decay": 0.9,
        "vae_loss_weight": 0.0,
        "kl_loss_weight": 0.0,
        "validate_every": {"steps": 100},
        "checkpoint_every": 100,
        "keep": {"last": 2, "best": 0, "milestones": None},
        "skip_nonfinite": 0,
        "compute": {"dtype": "auto", "accumulate": 1, "recompute": False, "compile": False},
        "threads": 1,
        "seed": 0,
        "sampling": {"sampler": "euler", "steps": 2, "shift": 3.0, "guidance": 2.0},
    }
    return records.parse(TrainParams, {**values, **changed}, origin="tests/tiny.py")


def tuned_params(start: Path, **changed: Any) -> TunedParams:
    """A training of six steps that goes on from a model."""
    values = train_params().model_dump(mode="json", exclude={"model": True, "validate_every": {"epochs"}})
    return records.parse(TunedParams, {**values, "start": str(start), **changed}, origin="tests/tiny.py")


def student_params(**changed: Any) -> StudentParams:
    """A distillation of six steps of one layer, guided in the middle."""
    values = train_params().model_dump(mode="json", exclude={"model": True, "validate_every": {"epochs"}})
    extra: dict[str, Any] = {
        "objective": "velocity_matching",
        "teacher": "models/teacher",
        "data": "data/latents",
        "layers": [1],
        "guidance": 2.0,
        "guidance_interval": [0.1, 0.9],
        "sampling": {"sampler": "euler", "steps": 2, "shift": 3.0, "guidance": 1.0},
    }
    return records.parse(StudentParams, {**values, **extra, **changed}, origin="tests/tiny.py")


def network(seed: int = 0) -> Any:
    """A fresh transformer of the tiny space that says something, and hears its text well."""
    made = transformer.create(SHAPE, space(), seed=seed)
    with torch.no_grad():
        made.condition_embedder.text_embedder.linear_1.weight.mul_(30)
        made.condition_embedder.text_embedder.linear_2.weight.mul_(30)
        made.proj_out.weight.copy_(randomness.normal(tuple(made.proj_out.weight.shape), "head", seed) * 0.3)
    return made


def process(**changed: Any) -> contract.Process:
    """What the tiny networks predict."""
    facts: dict[str, Any] = {"shift": 3.0, "draws": "logit_normal", "patch_size": (1, 1, 1)}
    return contract.Process(**{**facts, **changed})


def model(folder: Path, **training: Any) -> Path:
    """Write a model folder on the tiny space; ``training`` changes facts of its training."""
    meaning = trainings.teacher_contract(train_params(), space())
    base = models.Base(path="base", vae_digest="a" * 32, text_encoder_digest="b" * 32)
    facts: dict[str, Any] = {
        "stage": "train@tiny",
        "steps_planned": 6,
        "steps_done": 6,
        "parameters": {"trainable": 1, "frozen_vae": 2, "frozen_text": 3, "total": 6},
        "dataset_digest": "d" * 32,
        "ema_decay": 0.9,
        "objective": "flow_matching",
        "teacher_digest": None,
        "tensor_sources": None,
    }
    with files.new_folder(folder) as beside:
        models.save(beside, network(), meaning, base, {**facts, **training})
    return folder


def job(folder: Path, rows: Dataset, **changed: Any) -> Job:
    """A training by flow matching, ready to run with ``folder`` as its work folder."""
    settings = train_params(**changed)
    meaning = trainings.teacher_contract(settings, rows.space)
    return Job(
        name="train tiny",
        network=transformer.create(settings.model, rows.space, seed=settings.seed),
        objective=flow_matching.objective(trainings.process_of(meaning)),
        dataset=rows,
        params=settings,
        contract=meaning,
        identity={"contract": meaning.digest, "dataset": rows.digest},
        work=folder,
    )


def losses_beside(job: Job, other: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Runs a training of one step: its losses (B,) there, and those of another network of the same rows and noise."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watched(network: torch.nn.Module, batch: Batch, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        losses = job.objective(network, batch, noise, sigma)
        if network.training:
            found.append((losses.detach(), job.objective(other, batch, noise, sigma)))
        return losses

    engine.run(dataclasses.replace(job, objective=watched))
    [pair] = found
    return pair


def trajectories_params(**changed: Any) -> TrajectoriesParams:
    """Two points of each trajectory, three steps of the solver between them, as params.yaml would say it."""
    values: dict[str, Any] = {
        "teacher": "models/teacher",
        "guidance": 2.0,
        "guidance_interval": [0.1, 0.9],
        "shift": 3.0,
        "points": 2,
        "substeps": 3,
        "rows": {IMAGES: 13, CLIPS: 3},
        "validation": 2,
        "threads": 1,
        "seed": 0,
    }
    return records.parse(TrajectoriesParams, {**values, **changed}, origin="tests/tiny.py")


def followed(folder: Path, source: Dataset, teacher: models.Model, name: str = "made", **changed: Any) -> Dataset:
    """Trajectories of a teacher as a dataset."""
    params, work = trajectories_params(**changed), folder / f"work-{name}"
    wanted = list(trajectories.parts(params, teacher, source))
    trajectories.Maker(params, teacher, source, "cpu").make(wanted, work)
    trajectories.publish(folder / name, trajectories.facts(params, teacher, source), wanted, source, work)
    return Dataset(folder / f"{name}.json", folder / name)


def few_steps_params(**changed: Any) -> StudentParams:
    """A student of few steps, as params.yaml would say it."""
    values: dict[str, Any] = {
        "objective": "trajectory_matching",
        "data": "data/trajectories/teacher",
        "draws": "uniform",
        "caption_dropout": 0.0,
        "sampling": {"sampler": "flow_map", "steps": 2, "shift": 3.0, "guidance": 1.0},
        "validate_every": {"steps": 2},
    }
    return student_params(**{**values, **changed})


def mapping_params(**changed: Any) -> StudentParams:
    """A flow map that learns by its own derivative, as params.yaml would say it."""
    values: dict[str, Any] = {
        "objective": "flow_map",
        "draws": "uniform",
        "tangent": {"at_start": 0.5, "at_zero": 0.25, "warmup_steps": 3, "delta": 0.0005},
        "sampling": {"sampler": "flow_map", "steps": 2, "shift": 3.0, "guidance": 1.0},
        "validate_every": {"steps": 3},
    }
    return student_params(**{**values, **changed})


def jumping_params(objective: str, **changed: Any) -> StudentParams:
    """A student of two steps with noise between them, as params.yaml would say it; its critic learns twice a step."""
    values: dict[str, Any] = {
        "objective": objective,
        "draws": "uniform",
        "caption_dropout": 0.0,
        "sampling": {"sampler": "renoise", "steps": 2, "shift": 3.0, "guidance": 1.0},
        "validate_every": {"steps": 3},
    }
    if objective != "consistency":
        values["critic"] = {"updates": 2, "optimizer": train_params().optimizer.model_dump(mode="json")}
    if objective == "consistency_and_distribution":
        values["distribution_weight"] = 0.1
    return student_params(**{**values, **changed})


def few_steps(folder: Path, made: Dataset, teacher: models.Model, **changed: Any) -> Job:
    """A distillation from trajectories, ready to run."""
    return distillation(folder, made, teacher, few_steps_params(**changed))


def distillation(folder: Path, made: Dataset, teacher: models.Model, student: StudentParams, team: Team = ALONE) -> Job:
    """A distillation, ready to run."""
    students.require_rows(student, made, teacher)
    meaning = students.contract(student, made, teacher)
    network = students.begun(teacher, student)[0]
    learned = learning.of(student, network, trainings.process_of(meaning), made, teacher, team)
    return Job(
        name="distill tiny",
        network=network,
        objective=learned.objective,
        dataset=made,
        params=student,
        contract=meaning,
        identity={"contract": meaning.digest, "dataset": made.digest},
        work=folder / "distilling",
        drawn=learned.times,
        companions=learned.companions,
        team=team,
        proof=learned.proof,
    )
