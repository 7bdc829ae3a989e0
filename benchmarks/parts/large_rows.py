"""Steps at a shape that is bound by its data: rows of 4.4 MB under a network of one layer.

The other way is the same loop, whose batches are put together from a safetensors file for each row: the latent as it is
stored, and the text as the network sees it, padded.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file, save_file

from benchmarks import Frame
from benchmarks.parts import bare_steps, in_turn, latent_rows, scratch, small_training
from benchmarks.parts.in_turn import Cost
from frostline import engine, latents, loading
from frostline.batches import WHOLE, Batches, Share
from frostline.dataset import Batch, Dataset

MODEL = {"layers": 1, "heads": 1, "head_dim": 48, "ffn_dim": 96, "patch_size": [3, 8, 8]}
BATCH, ROWS, STEPS, ROUNDS = 4, 48, 6, 8


def measure(frame: Frame) -> None:
    """Measure and record ours against files for rows."""
    kind = latent_rows.SHORT if frame.quick else latent_rows.VIDEOS
    steps, rounds, rows = (1, 1, 8) if frame.quick else (STEPS, ROUNDS, ROWS)
    with scratch.folder(frame) as folder:
        dataset = Dataset(*small_training.data(folder, kind, rows))
        apart = folder / "rows"
        apart.mkdir()
        for row in range(len(dataset)):
            _write(apart, dataset, row)

        def run(work: Path) -> Cost:
            values: dict[str, Any] = small_training.params(
                kind, batch=BATCH, steps=bare_steps.WARM + steps + 1, model=MODEL
            )
            return bare_steps.engine_steps(small_training.job(work, dataset, values), steps)

        def of_files(number: int) -> Cost:
            with mock.patch.object(loading, "read", _reader(apart)):
                return run(folder / f"files-{number}")

        found = in_turn.rounds({"ours": lambda number: run(folder / f"ours-{number}"), "files": of_files}, rounds)
    ratio = in_turn.ratio(found["files"], found["ours"])
    ours, theirs = (in_turn.mean(found[name]).per(steps) for name in ("ours", "files"))
    frame.record(
        "data_bound_steps",
        ratio.low,
        1.5,
        ">=",
        unit="times the steps a second on files",
        n=rounds,
        spread=str(ratio),
        note=f"batches of {BATCH} rows of 4.4 MB and 512 tokens, one layer; {ours.cpu * 1e3:.0f} against "
        f"{theirs.cpu * 1e3:.0f} ms of one core a step, page cache; the lower bound counts",
    )


def _write(folder: Path, dataset: Dataset, row: int) -> None:
    text = dataset.batch([row]).text[0].to(torch.bfloat16)
    save_file({"latent": dataset.raw([row])[0].to(torch.bfloat16), "text": text}, folder / f"{row}.safetensors")


def _reader(folder: Path) -> Callable[..., Any]:
    def read(batches: Batches, first: int, end: int, *, share: Share = WHOLE, readers: int = 0) -> Iterator[Batch]:
        del readers  # the other way reads ahead as little as ours does on one core
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
