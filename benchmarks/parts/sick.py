"""Small projects that are healthy, or sick in one way that is known: what the doctor is judged by.

A project is files alone: a model folder, latents with texts, a teacher where there is one, code where the fault lies in
code. Its networks are real Wan transformers of some ten thousand weights, trained here in seconds on latents that have
something to learn: three captions, each a pattern, and smooth variation around it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from frostline import contract as contracts
from frostline import digits, files, models, path, randomness, schedule, transformer, world
from frostline.contract import Contract, LatentSpace, Process, Sampling
from frostline.params.trainings import ModelParams

SHAPE = ModelParams(layers=2, heads=2, head_dim=24, ffn_dim=96, patch_size=(1, 1, 1))
OTHER_SHAPES = {  # of what is judged, beside what thresholds were chosen by
    "digits": ModelParams(layers=3, heads=2, head_dim=24, ffn_dim=120, patch_size=(1, 1, 1)),
    "world": ModelParams(layers=2, heads=3, head_dim=24, ffn_dim=144, patch_size=(1, 1, 1)),
}
ROWS, CAPTIONS, BATCH, RATE = 384, 3, 32, 5e-3
MEAN, STD = (-0.5, 0.0, 0.5, 1.0), (1.3, 2.0, 3.0, 2.4)
BUCKET = (1, 32, 32)


@dataclass(frozen=True, kw_only=True)
class Project:
    """What the doctor is given."""

    model: str
    latents: Path
    teacher: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """Latents that have something to learn."""

    raw: Tensor  # (N, 4, T, 4, 4)
    clean: Tensor
    text: Tensor  # (N, 6, 8)
    null: Tensor  # (1, 6, 8)
    which: Tensor  # (N,) number of each row's caption
    shape: ModelParams = SHAPE  # of networks that learn them


Step = Callable[[nn.Module, Tensor, Tensor, Tensor, Tensor, int], Tensor]
"""(network, clean, noise, sigma, text, step) -> loss"""


def space() -> LatentSpace:
    """Four channels, texts of six tokens."""
    return LatentSpace(
        vae_digest="a" * 32,
        z_dim=4,
        latents_mean=MEAN,
        latents_std=STD,
        spatial_stride=8,
        temporal_stride=4,
        stored_dtype="float32",
        text_encoder_digest="b" * 32,
        text_dim=8,
        text_length=6,
    )


def data(seed: int, kind: str = "patterns", frames: int = 1, rows: int = ROWS) -> Data:
    """Rows of one seed: made-up patterns, handwritten digits, or scenes of the rendered world, as small latents."""
    generator = randomness.generator("sick", "data", seed)
    found, which = KINDS[kind](rows, frames, seed, generator)
    mean, std = found.mean((0, 2, 3, 4), keepdim=True), found.std((0, 2, 3, 4), keepdim=True)
    clean = (found - mean) / std
    channels = torch.tensor(STD).view(1, 4, 1, 1, 1), torch.tensor(MEAN).view(1, 4, 1, 1, 1)
    words = torch.randn(int(which.max()) + 2, 6, 8, generator=generator)
    words[:, 4:] = 0
    raw = clean * channels[0] + channels[1]
    return Data(
        raw=raw, clean=clean, text=words[which], null=words[-1:], which=which, shape=OTHER_SHAPES.get(kind, SHAPE)
    )


def _patterns(rows: int, frames: int, _seed: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    patterns = torch.randn(CAPTIONS, 4, 1, 4, 4, generator=generator)
    which = torch.arange(rows) % CAPTIONS
    coarse = torch.randn(rows, 4, 2, 2, generator=generator)
    smooth = nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")[:, :, None]
    own = torch.randn(rows, 4, frames, 4, 4, generator=generator)
    return 0.75 * patterns[which] + 0.6 * smooth + 0.15 * own, which


def _digits(rows: int, frames: int, _seed: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Scans of 8 x 8, each four neighbours one place; later frames are moved to the left."""
    chosen = torch.randperm(len(digits.scans()), generator=generator)[:rows]
    scans = torch.tensor(digits.scans()[chosen.numpy()]).float()
    scans += 0.5 * torch.randn(scans.shape, generator=generator)
    moved = torch.stack([scans.roll(-frame, 2) for frame in range(frames)], 1)  # (N, T, 8, 8)
    latents = nn.functional.pixel_unshuffle(moved[:, :, None], 2).transpose(1, 2)  # (N, 4, T, 4, 4)
    return latents.contiguous(), torch.tensor(digits.labels()[chosen.numpy()])


def _world(rows: int, frames: int, seed: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mean colours and contrast of the fields of a scene; the caption is the colour of its first object."""
    scenes = [world.scene(1000 * seed + number) for number in range(rows)]
    colours = sorted({scene.objects[0].colour for scene in scenes})
    shown = np.stack([world.render(scene, 1 + 4 * (frames - 1), 64)[::4] for scene in scenes])  # (N, T, 64, 64, 3)
    pixels = torch.from_numpy(shown).float().permute(0, 4, 1, 2, 3) / 127.5 - 1  # (N, 3, T, 64, 64)
    fields = pixels.unflatten(3, (4, 16)).unflatten(5, (4, 16))  # (N, 3, T, 4, 16, 4, 16)
    contrast = fields.mean(1, keepdim=True).std((4, 6))
    latents = torch.cat([fields.mean((4, 6)), contrast], 1)
    noise = 0.02 * torch.randn(latents.shape, generator=generator)
    return latents + noise, torch.tensor([colours.index(scene.objects[0].colour) for scene in scenes])


KINDS: dict[str, Callable[[int, int, int, torch.Generator], tuple[Tensor, Tensor]]] = {
    "patterns": _patterns,
    "digits": _digits,
    "world": _world,
}


def write_latents(file: Path, of: Data, **changed: Tensor) -> Path:
    """A file of latents as the doctor reads it."""
    tensors = {"latents": of.clean, "raw": of.raw, "text": of.text, "null": of.null, **changed}
    safetensors.torch.save_file({name: tensor.clone() for name, tensor in tensors.items()}, file)
    return file


def flow_matching(network: nn.Module, clean: Tensor, noise: Tensor, sigma: Tensor, text: Tensor, _step: int) -> Tensor:
    """The loss of a healthy training."""
    velocity = ask(network, path.noised(clean, noise, sigma), sigma, text)
    return (velocity - path.velocity(clean, noise)).square().mean((1, 2, 3, 4))


def ask(network: nn.Module, noised: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    """A network's answer at sigma (B,)."""
    return network(noised, (1000 * sigma).float(), text, return_dict=False)[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A network and what its training recorded."""

    network: Any
    start: dict[str, Tensor]
    losses: list[float]
    by_sigma: list[list[float]]  # per look, a mean for each tenth of sigma


def fresh(seed: int, shape: ModelParams = SHAPE) -> Any:
    """A transformer that was not trained."""
    return transformer.create(shape, space(), seed=seed)


def train(
    of: Data,
    seed: int,
    steps: int,
    step: Step = flow_matching,
    network: Any = None,
    shift: float = 1.0,
    rate: float = RATE,
) -> Trained:
    """Train a network on rows; every number is drawn from (seed, step)."""
    network = fresh(seed, of.shape) if network is None else network
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    losses: list[float] = []
    seen: list[tuple[float, float]] = []
    for number in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (number + 1) / 20) * 0.5 * (1 + math.cos(math.pi * number / steps))
        generator = randomness.generator("sick", seed, number)
        rows = torch.randint(ROWS, (BATCH,), generator=generator)
        noise = torch.randn(BATCH, *of.clean.shape[1:], generator=generator)
        sigma = schedule.draw_logit_normal(BATCH, shift, generator)
        gone = torch.rand(BATCH, generator=generator) < 0.1
        text = torch.where(gone[:, None, None], of.null, of.text[rows])
        loss = step(network, of.clean[rows], noise, sigma, text, number)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
        losses.append(float(loss.detach().mean()))
        if number >= steps * 0.85:
            seen += list(zip(sigma.tolist(), loss.detach().tolist(), strict=True))
    return Trained(network=network.eval(), start=start, losses=losses, by_sigma=[_tenths(seen)])


def _tenths(seen: list[tuple[float, float]]) -> list[float]:
    groups = [[loss for sigma, loss in seen if tenth <= 10 * sigma < tenth + 1] for tenth in range(10)]
    return [sum(group) / len(group) if group else math.nan for group in groups]


def contract(**changed: Any) -> Contract:
    """What a healthy model says of itself; ``process`` and ``sampling`` change facts."""
    process: dict[str, Any] = {"shift": 1.0, "draws": "logit_normal", "patch_size": (1, 1, 1), "buckets": (BUCKET,)}
    record: dict[str, Any] = {
        "sampler": "unipc",
        "rounds_timesteps": True,
        "steps": 16,
        "allowed_steps": None,
        "shift": 1.0,
        "allowed_shifts": None,
        "sigmas": None,
        "guidance": 1.5,
        "guidance_form": "external",
        "teacher_digest": None,
    }
    return Contract(
        latent_space=space(),
        process=Process(**{**process, **changed.get("process", {})}),
        sampling=Sampling(**{**record, **changed.get("sampling", {})}),
    )


def write_model(folder: Path, made: Trained, meaning: Contract | None = None, **training: Any) -> Path:
    """A model folder with the training's tables."""
    steps = len(made.losses)
    facts = {
        "stage": "train@sick",
        "steps_planned": steps,
        "steps_done": steps,
        "parameters": transformer.parameters(made.network),
        "dataset_digest": "d" * 32,
        "ema_decay": 0.9,
        "objective": "flow_matching",
        "teacher_digest": None,
        "tensor_sources": None,
        **training,
    }
    base = models.Base(path="nowhere", vae_digest="a" * 32, text_encoder_digest="b" * 32)
    with files.new_folder(folder) as beside:
        models.save(beside, made.network, meaning or contract(), base, facts)
        lines = [f"{number + 1}\t{loss}" for number, loss in enumerate(made.losses)][4::5]
        files.write_text(beside / "curve.tsv", "\n".join(["step\tloss", *lines]) + "\n")
        head = "step\t" + "\t".join(f"{n / 10:g}-{(n + 1) / 10:g}" for n in range(10))
        rows = [f"{steps}\t" + "\t".join("" if math.isnan(v) else f"{v:.6g}" for v in row) for row in made.by_sigma]
        files.write_text(beside / "sigmas.tsv", "\n".join([head, *rows]) + "\n")
    return folder


def rewrite(
    folder: Path, *, weights: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None, **changed: Any
) -> None:
    """Change a model folder as somebody would who did not notice: the records fit the files.

    ``process``, ``sampling`` and ``training`` change facts of these.
    """
    meaning = contracts.load(folder)
    parts = {name: getattr(meaning, name) for name in ("process", "sampling") if changed.get(name)}
    meaning = meaning.model_copy(
        update={name: type(part)(**{**part.model_dump(), **changed[name]}) for name, part in parts.items()}
    )
    tensors = safetensors.torch.load_file(folder / models.WEIGHTS)
    models.write_weights(folder / models.WEIGHTS, weights(tensors) if weights else tensors, meaning)
    training = {**files.read_json(folder / models.RECORD), **changed.get("training", {})}
    base = models.Base(**files.read_json(folder / "base.json"))
    models.describe(folder, meaning, base, training)


def distilled(of: Data, seed: int, steps: int, *, scale: float, of_network: Any) -> Trained:
    """A student of a network's guided velocity at ``scale``."""

    def step(network: nn.Module, clean: Tensor, noise: Tensor, sigma: Tensor, text: Tensor, _number: int) -> Tensor:
        noised = path.noised(clean, noise, sigma)
        with torch.no_grad():
            away = ask(of_network, noised, sigma, of.null.expand_as(text))
            target = away + scale * (ask(of_network, noised, sigma, text) - away)
        return (ask(network, noised, sigma, text) - target).square().mean((1, 2, 3, 4))

    student = fresh(seed, of.shape)
    student.load_state_dict(of_network.state_dict())
    return train(of, seed, steps, step, student, rate=RATE / 3)
