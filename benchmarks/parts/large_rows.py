"""Steps at shapes that are bound by their data: rows of 4 MiB under a network of one layer.

The other way is the same loop, whose batches are put together from a safetensors file for each row: the latent as it is
stored, and the text as the network sees it, padded. Of an image nearly all of its 4 MiB are its text, of a clip all but
a kilobyte is its latent. Both ways read in the training's own process, so that all they do is counted. A third way has
no latents: pictures of the miniature's size go through its VAE, and captions through its text encoder, at every step.
"""

import contextlib
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from safetensors.torch import load_file, save_file

from benchmarks import Frame
from benchmarks.parts import bare_steps, in_turn, latent_rows, scratch, small_training, synthetic_cache
from benchmarks.parts.in_turn import Cost, Ratio
from benchmarks.parts.synthetic_cache import Kind
from frostline import engine, latents, loading, params
from frostline.batches import WHOLE, Batches, Share
from frostline.codec import Codec
from frostline.dataset import Batch, Dataset

STEPS, ROUNDS = 6, 12
WIDTH = small_training.TINY["head_dim"]  # of the network, which has one head
ENCODED = 48  # images of a step


class Shape(NamedTuple):
    """Which rows, under which network."""

    figure: str
    what: str
    kind: Kind
    quick: Kind
    patch: list[int]
    batch: int
    rows: int


LATENTS = Kind(
    bucket=(81, 480, 832), tokens=8, text_dim=64, text_length=12
)  # 16 x 21 x 60 x 104, and the miniature's texts
FEW = dataclasses.replace(LATENTS, bucket=(9, 160, 128))
IMAGES = Shape("data_bound_steps", "images of 512x512", synthetic_cache.IMAGES, latent_rows.SMALL, [1, 8, 8], 16, 256)
CLIPS = Shape("data_bound_clips", "clips of 81x480x832", LATENTS, FEW, [3, 10, 8], 4, 48)


def measure(frame: Frame) -> None:
    """Measure and record ours against files for rows."""
    for shape in (IMAGES, CLIPS):
        _measure(frame, shape)


def _measure(frame: Frame, shape: Shape) -> None:
    kind, batch = (shape.quick, 4) if frame.quick else (shape.kind, shape.batch)
    model = {**small_training.TINY, "patch_size": shape.patch}
    steps, rounds, rows = (1, 1, 8) if frame.quick else (STEPS, ROUNDS, shape.rows)
    with scratch.folder(frame) as folder:
        dataset = Dataset(*small_training.data(folder, kind, rows))
        apart = folder / "rows"
        apart.mkdir()
        for row in range(len(dataset)):
            _write(apart, dataset, row)
        size = (apart / "0.safetensors").stat().st_size

        def run(work: Path) -> Cost:
            values: dict[str, Any] = small_training.params(
                kind, batch=batch, steps=bare_steps.WARM + steps + 1, model=model
            )
            return bare_steps.engine_steps(small_training.job(work, dataset, values), steps)

        told = _beside(folder, run, _reader(apart), rounds, steps)
    frame.record(
        shape.figure,
        told.ratio.low,
        1.5,
        ">=",
        unit="times the steps a second on files",
        n=rounds,
        spread=str(told.ratio),
        note=f"batches of {batch} {shape.what} with texts of {kind.text_length} tokens, {size / 2**20:.2f} MiB a file, "
        f"one layer, {WIDTH} wide; {told.both(lambda way: way.step)} ms of one core a step, page cache; of them "
        f"{told.both(lambda way: way.data)} are the batch, from its files to the network's latents and texts",
    )


def without_latents(frame: Frame) -> None:
    """Measure and record steps on cached images, beside steps on images that are encoded each time."""
    kind, steps, rounds = small_training.ROWS, *((1, 1) if frame.quick else (STEPS, ROUNDS))
    frozen = Codec(params.load().base)
    with scratch.folder(frame) as folder:
        dataset = Dataset(*small_training.data(folder, kind, 200))

        def run(work: Path) -> Cost:
            values = small_training.params(kind, batch=ENCODED, steps=bare_steps.WARM + steps + 1)
            return bare_steps.engine_steps(small_training.job(work, dataset, values), steps)

        told = _beside(folder, run, _encoder(frozen), rounds, steps)
    frame.record(
        "encoding_on_the_fly",
        told.ratio.low,
        1.0,
        ">=",
        unit="times the steps a second of encoding at every step",
        n=rounds,
        spread=str(told.ratio),
        note=f"the teacher's shape, {ENCODED} images of 32x32 a step through the miniature's VAE and text encoder; "
        f"{told.both(lambda way: way.step)} ms of one core a step; nothing was asked but the number",
    )


class Spent(NamedTuple):
    """CPU seconds of a step, and of them what its batch took (the median)."""

    step: float
    data: float


class Told(NamedTuple):
    """Two ways to the same steps: how many times as long the other takes, and what each spends."""

    ratio: Ratio
    ours: Spent
    theirs: Spent

    def both(self, what: Callable[[Spent], float]) -> str:
        """Milliseconds of ours and of the other."""
        return f"{what(self.ours) * 1e3:.1f} against {what(self.theirs) * 1e3:.1f}"


def _beside(folder: Path, run: Callable[[Path], Cost], read: Callable[..., Any], rounds: int, steps: int) -> Told:
    """A training with rows from its cache and one with rows read another way, in turn."""
    ways, waited = {"ours": loading.read, "theirs": read}, {"ours": list[float](), "theirs": list[float]()}

    def turn(name: str, number: int) -> Cost:
        timed = _timed(ways[name], waited[name])
        with mock.patch.object(loading, "read", timed), mock.patch.object(loading, "readers", _none):
            return run(folder / f"{name}-{number}")

    found = in_turn.rounds({name: functools.partial(turn, name) for name in ways}, rounds)
    each = {name: in_turn.mean(found[name]).per(steps).cpu for name in ways}
    ours, theirs = (Spent(each[name], statistics.median(waited[name])) for name in ("ours", "theirs"))
    return Told(in_turn.ratio(found["theirs"], found["ours"]), ours, theirs)


def _none(*_: object, **__: object) -> int:
    """Both ways read in the training's own process: what another did would not be counted."""
    return 0


def _timed(read: Callable[..., Any], waited: list[float]) -> Callable[..., Any]:
    """The same batches; the CPU seconds of each are kept."""

    def timed(*given: Any, **named: Any) -> Iterator[Batch]:
        with contextlib.closing(read(*given, **named)) as batches:
            while True:
                started = time.process_time()
                batch = next(batches, None)
                waited.append(time.process_time() - started)
                if batch is None:
                    return
                yield batch

    return timed


def _encoder(frozen: Codec) -> Callable[..., Any]:
    def read(batches: Batches, first: int, end: int, *, share: Share = WHOLE, readers: int = 0) -> Iterator[Batch]:
        del readers
        dice = torch.Generator().manual_seed(0)
        captions = [f"a handwritten digit {word}" for word in ("one", "two", "three", "four")]
        for step in range(first, end):
            rows = [draw.row for draw in batches.draws(step, share)]
            pixels = torch.randint(0, 256, (len(rows), 1, 32, 32, 3), generator=dice, dtype=torch.uint8)
            said = frozen.encode_text([captions[row % len(captions)] for row in rows])
            yield Batch(
                rows=tuple(rows),
                clean=frozen.normalise(frozen.encode(pixels)),
                text=latents.pad(said, frozen.latent_space.text_length),
                dropped=torch.zeros(len(rows), dtype=torch.bool),
            )

    return read


def _write(folder: Path, dataset: Dataset, row: int) -> None:
    text = dataset.batch([row]).text[0].to(torch.bfloat16)
    save_file({"latent": dataset.raw([row])[0].to(torch.bfloat16), "text": text}, folder / f"{row}.safetensors")


def _reader(folder: Path) -> Callable[..., Any]:
    def read(batches: Batches, first: int, end: int, *, share: Share = WHOLE, readers: int = 0) -> Iterator[Batch]:
        del readers
        for step in range(first, end):
            rows = [draw.row for draw in batches.draws(step, share)]
            found = [load_file(folder / f"{row}.safetensors") for row in rows]
            raw = torch.stack([one["latent"] for one in found]).float()
            yield Batch(
                rows=tuple(rows),
                clean=latents.normalise(raw, batches.dataset.space),
                text=torch.stack([one["text"] for one in found]).float(),
                dropped=torch.zeros(len(rows), dtype=torch.bool),
            )

    assert engine.loading is loading  # what is replaced is what the engine calls
    return read
