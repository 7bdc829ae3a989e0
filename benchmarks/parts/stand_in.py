"""A teacher and a student with random weights on the shipped base, for `--quick`: their samples mean nothing."""

from pathlib import Path

import torch

from frostline import codec, files, models, params, randomness, trainings, transformer
from frostline.contract import Contract
from frostline.params.trainings import ModelParams

SHAPE = ModelParams(layers=1, heads=2, head_dim=12, ffn_dim=48, patch_size=(1, 1, 1))
STEPS = 2
HEAD_STD = 0.3  # a fresh transformer's head is zero


def make(folder: Path) -> tuple[Path, Path]:
    """Write both model folders; returns their paths."""
    settings = params.load()
    base = Path(settings.base)
    teacher = trainings.teacher_contract(next(iter(settings.train.runs.values())), codec.latent_space(base))
    first = _write(folder / "teacher", base, _quick(teacher), seed=0, teacher=None)
    digest = models.load(first).training.weights_digest
    student = _quick(teacher, guidance_form="folded", teacher_digest=digest)
    return first, _write(folder / "guided", base, student, seed=1, teacher=digest)


def _quick(contract: Contract, **changes: str) -> Contract:
    assert contract.sampling is not None
    return contract.model_copy(update={"sampling": contract.sampling.model_copy(update={"steps": STEPS, **changes})})


def _write(folder: Path, base: Path, contract: Contract, *, seed: int, teacher: str | None) -> Path:
    space = contract.latent_space
    network = transformer.create(SHAPE, space, seed=seed)
    with torch.no_grad():
        network.proj_out.weight.normal_(std=HEAD_STD, generator=randomness.generator("stand-in", seed))
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
