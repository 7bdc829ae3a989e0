"""Models with random weights on the shipped base, of which samples mean nothing: for `--quick`, and two experts."""

import shutil
from pathlib import Path

import torch

from frostline import codec, contract, files, models, params, randomness, sampling, schedule, trainings, transformer
from frostline.contract import Contract
from frostline.networks import Transformer
from frostline.params.trainings import ModelParams
from frostline.wan import families, pins

SHAPE = ModelParams(layers=1, heads=2, head_dim=12, ffn_dim=48, patch_size=(1, 1, 1))
STEPS = 2
HEAD_STD = 0.3  # a fresh transformer's head is zero
FAMILY = next(family for family in families.FAMILIES if family.name == "wan2.2-t2v-a14b")
EXPERT_STEPS = 8  # of which both experts serve some at the family's shift


def make(folder: Path) -> tuple[Path, Path]:
    """Write both model folders; returns their paths."""
    settings = params.load()
    base = Path(settings.base)
    teacher = trainings.teacher_contract(next(iter(settings.train.runs.values())), codec.latent_space(base))
    first = _write(folder / "teacher", base, _quick(teacher), seed=0, teacher=None)
    digest = models.load(first).training.weights_digest
    student = _quick(teacher, guidance_form="folded", teacher_digest=digest)
    return first, _write(folder / "guided", base, student, seed=1, teacher=digest)


def few_steps(folder: Path, points: int = 4) -> Path:
    """Write a student of few steps, a flow map, beside a teacher that is no more than that."""
    settings = params.load()
    base = Path(settings.base)
    teacher = trainings.teacher_contract(next(iter(settings.train.runs.values())), codec.latent_space(base))
    assert teacher.process is not None
    assert teacher.sampling is not None
    shift = teacher.sampling.shift
    facts = {
        "sampler": "flow_map",
        "rounds_timesteps": False,
        "steps": points,
        "sigmas": tuple(schedule.grid(points, shift)[:-1].tolist()),
        "guidance_form": "folded",
    }
    meaning = Contract(
        latent_space=teacher.latent_space,
        process=teacher.process.model_copy(update={"prediction": "mean_velocity"}),
        sampling=teacher.sampling.model_copy(update=facts),
    )
    return _write(folder / "fast", base, meaning, seed=1, teacher=None)


def experts(folder: Path) -> Path:
    """Write a small model of two experts as `frostline fetch` leaves one, sampled as Wan2.2's is but in fewer steps."""
    settings = params.load()
    base = Path(settings.base)
    teacher = trainings.teacher_contract(next(iter(settings.train.runs.values())), codec.latent_space(base))
    assert teacher.process is not None
    assert teacher.sampling is not None
    high, low = FAMILY.guidance
    facts = {"steps": EXPERT_STEPS, "shift": FAMILY.shift, "guidance": high, "guidance_low": low}
    meaning = Contract(
        latent_space=teacher.latent_space,
        process=teacher.process.model_copy(update={"expert_boundary": FAMILY.expert_boundary}),
        sampling=teacher.sampling.model_copy(update=facts),
    )
    with files.new_folder(folder) as beside:
        for part in ("vae", "text_encoder", "tokenizer"):
            shutil.copytree(base / part, beside / part)
        for seed, role in enumerate(("transformer", "transformer_2")):
            _network(meaning, seed).save_pretrained(beside / role)
        sampling.unipc_scheduler(solver_order=2, shift=FAMILY.shift).save_pretrained(beside / "scheduler")
        index = {"_class_name": "WanPipeline", "boundary_ratio": FAMILY.expert_boundary}
        files.write_json(beside / "model_index.json", index)
        contract.save(meaning, beside)
        pins.save(beside, source="stand-in", revision=None, family=None, boundary=FAMILY.expert_boundary)
    return folder


def _network(contract: Contract, seed: int) -> Transformer:
    network = transformer.create(SHAPE, contract.latent_space, seed=seed)
    with torch.no_grad():
        network.proj_out.weight.normal_(std=HEAD_STD, generator=randomness.generator("stand-in", seed))
    maps = contract.process is not None and contract.process.prediction == "mean_velocity"
    return transformer.flow_map_from_layers(network, range(SHAPE.layers))[0] if maps else network


def _quick(contract: Contract, **changes: str) -> Contract:
    assert contract.sampling is not None
    return contract.model_copy(update={"sampling": contract.sampling.model_copy(update={"steps": STEPS, **changes})})


def _write(folder: Path, base: Path, contract: Contract, *, seed: int, teacher: str | None) -> Path:
    space = contract.latent_space
    network = _network(contract, seed)
    where = models.Base(path=str(base), vae_digest=space.vae_digest, text_encoder_digest=space.text_encoder_digest)
    training = {
        "stage": "stand-in",
        "steps_planned": 1,
        "steps_done": 1,
        "parameters": transformer.parameters(network),
        "dataset_digest": "none",
        "ema_decay": 0.0,
        "objective": "none",
        "teacher_digest": teacher,
        "tensor_sources": None,
    }
    with files.new_folder(folder) as beside:
        models.save(beside, network, contract, where, training)
    return folder
