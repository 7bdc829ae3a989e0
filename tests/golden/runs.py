"""A small seeded run of each expensive stage, as numbers that tell whether its results are still the same.

Each run stands on its own: a change of what the cache makes does not show in the numbers of train.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frostline import caching, digits, engine, learning, models, students, trainings
from frostline.caching import wanted
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.engine import Outcome
from frostline.manifest import Columns, Row
from frostline.processes import ALONE
from frostline.store.reading import Latents
from tests import conftest, tiny

Numbers = dict[str, list[float] | str]


def cache(folder: Path) -> Numbers:
    """Images and clips of digits, one with two captions, and a prompt through a fixed VAE and text encoder."""
    base = conftest.make_base(folder / "base", seed=0)
    settings = tiny.cache_params(stored_dtype="float32", preview_prompts=["a handwritten digit one"])
    codec = Codec(base, stored_dtype=settings.stored_dtype)
    rows = [_digit(0, 1), _digit(1, 1), _digit(2, 1), _digit(3, 5), _digit(4, 5)]
    rows[1] = dataclasses.replace(rows[1], captions=(*rows[1].captions, "a digit"), weights=(2.0, 1.0))
    rows.append(dataclasses.replace(rows[0], id="prompt", medium="prompt", captions=("a digit moving up",)))
    caching.write_source(
        "golden",
        Columns.of(Row, rows),
        lambda row: digits.render(row.start, 0, row.frames, _motion(row.frames)),
        codec,
        settings,
        Pool(folder / "pool", codec.latent_space),
        folder / "out",
    )
    latents = Latents(folder / "out")
    items = [fact["item"] for fact in latents.facts("item")]
    found: Numbers = {f"latent {item}": _sketch(latents.raw([n])) for n, item in enumerate(items)}
    found |= {f"text {n}": _text(latents, latents.text_number(n)) for n in range(len(latents))}
    found |= {"second text": _text(latents, latents.text_number(1, caption=1))}
    found |= {"prompt": _text(latents, latents.prompt_number(0))}
    altered = dataclasses.replace(rows[3], shown=(3, 5, 7, 9, 11), flip=True)
    ids = {
        "latent id": wanted.latent_id(rows[3], tiny.space(), settings, "cpu"),
        "altered latent id": wanted.latent_id(altered, tiny.space(), settings, "cpu"),
    }
    return {**found, **ids, "null": _text(latents, 0)}


def train(folder: Path) -> Numbers:
    """Five steps of flow matching, every step validated and sampled."""
    job = tiny.job(folder, tiny.data(folder), steps=5, validate_every={"steps": 1})
    return _training(engine.run(job), folder)


def distill(folder: Path) -> Numbers:
    """Five steps of velocity matching from a teacher of two layers to a student of one."""
    rows, settings = tiny.data(folder), tiny.student_params(steps=5, validate_every={"steps": 1})
    teacher = models.load(tiny.model(folder / "teacher"))
    meaning = students.contract(settings, rows, teacher)
    network, _ = students.begun(teacher, settings)
    learned = learning.of(settings, network, trainings.process_of(meaning), rows, teacher, ALONE)
    job = engine.Job(
        name="distill tiny",
        network=network,
        objective=learned.objective,
        dataset=rows,
        params=settings,
        contract=meaning,
        identity={},
        work=folder,
    )
    return _training(engine.run(job), folder)


def trajectories(folder: Path) -> Numbers:
    """Points that a teacher comes through, and five steps of a flow map that learns from them."""
    rows, teacher = tiny.data(folder), models.load(tiny.model(folder / "teacher"))
    made = tiny.followed(folder, rows, teacher)
    numbers = [made.rows(bucket, "train").tolist() for bucket in (tiny.IMAGES, tiny.CLIPS)]
    points = {f"points {n}": _sketch(made.batch(of).clean) for n, of in enumerate(numbers)}
    job = tiny.few_steps(folder, made, teacher, steps=5, validate_every={"steps": 1})
    return {**points, **_training(engine.run(job), job.work)}


RUNS: dict[str, Callable[[Path], Numbers]] = {
    "cache": cache,
    "train": train,
    "distill": distill,
    "trajectories": trajectories,
}


def numbers(stage: str) -> Numbers:
    """The numbers of one stage, made in a folder that goes."""
    with tempfile.TemporaryDirectory() as folder:
        return RUNS[stage](Path(folder))


def _digit(scan: int, frames: int) -> Row:
    label = int(digits.labels()[scan])
    return Row(
        id=f"{scan}",
        source="digits",
        item=f"scan-{scan}",
        split="train",
        locator="",
        medium="drawn",
        file="",
        offset=0,
        size=0,
        content=f"{scan}",
        start=scan,
        shown=(),
        pts=(),
        time_base=(0, 1),
        flip=False,
        frames=frames,
        height=32,
        width=32,
        source_width=32,
        source_height=32,
        source_frames=frames,
        source_fps=0.0,
        crop=(0, 0, 32, 32),
        captions=(digits.caption(label, _motion(frames)),),
        weights=(1.0,),
        attributes="{}",
    )


def _motion(frames: int) -> digits.Motion | None:
    return None if frames == 1 else "left"


def _training(outcome: Outcome, folder: Path) -> Numbers:
    progress = outcome.progress
    last = sorted((folder / "preview").iterdir())[-1]
    return {
        "losses": [point["loss"] for point in progress.curve],
        "validation": [value for point in progress.validation for name, value in point.items() if name != "step"],
        "preview": _sketch(_preview(last)),
        **{f"weights {name}": _sketch(tensor) for name, tensor in sorted(outcome.network.state_dict().items())},
    }


def _preview(path: Path) -> Tensor:
    import safetensors.torch

    return safetensors.torch.load_file(path)["latents"]


def _text(latents: Latents, number: int) -> list[float]:
    """The tokens of a text, unpadded."""
    return _sketch(torch.from_numpy(latents.texts.read(number).view(np.float32)))


def _sketch(tensor: Tensor) -> list[float]:
    """Norm, and the products with three fixed waves: what moves any value moves one of these."""
    flat = tensor.detach().double().flatten()
    place = torch.arange(len(flat), dtype=torch.float64)
    return _rounded([flat.norm(), *(flat @ torch.sin(place * speed + 1) for speed in (0.1, 0.9, 2.3))])


def _rounded(values: Sequence[Tensor]) -> list[float]:
    return [float(f"{value.item():.7g}") for value in values]
