"""The same noise, model beside model: galleries of the page, and grids as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frostline import evaluation, media
from frostline.evaluation import Bucket, Evaluated, HeldOut
from frostline.pages import words
from frostline.report import pictures
from frostline.report.measures import REAL
from frostline.report.pictures import Strip
from frostline.store import layout

COLUMNS = 8  # samples of one prompt in an image strip
CLIP_COLUMNS = 4
ROWS = 10  # prompts in a gallery, at most


class Asked(NamedTuple):
    """One prompt and what everyone made of it."""

    caption: str
    strips: list[Strip]


class Gallery(NamedTuple):
    """Prompts of one bucket."""

    title: str
    note: str
    rows: list[Asked]


def gallery(evaluated: Sequence[Evaluated], real: HeldOut) -> Gallery:
    """What everyone made of the prompts of one bucket, the real pictures last."""
    shown = [one for one in evaluated if real.bucket in one.drawn]
    drawn = {one.name: rows(one.drawn[real.bucket]) for one in shown}
    captions = np.array(real.captions)
    prompts = list(drawn[shown[0].name]) if shown else _spread(list(real.prompts), ROWS)  # few samples: not all prompts
    drawn[REAL] = {prompt: real.pixels[captions == prompt] for prompt in prompts}
    width = min(_columns(real.bucket), *(len(made) for by_prompt in drawn.values() for made in by_prompt.values()))
    asked = [
        Asked(prompt, [pictures.strip(name, made[prompt][:width]) for name, made in drawn.items()])
        for prompt in prompts
    ]
    note = "One row is one caption; across the models, the same place is the same noise. The last strip is real."
    return Gallery(words.of_bucket(real.bucket).capitalize(), note, asked)


def write_pictures(folder: Path, evaluated: Sequence[Evaluated]) -> None:
    """A grid per model and bucket: rows are prompts, a column is the same noise for every model. Clips as GIF."""
    for one in evaluated:
        for bucket, drawn in one.drawn.items():
            shown = rows(drawn)
            width = min(_columns(bucket), *map(len, shown.values()))
            grid = pictures.grid([pictures.row(made[:width]) for made in shown.values()])
            ending = "png" if len(grid) == 1 else "gif"
            media.write(folder / f"{one.name}_{layout.bucket_name(bucket)}.{ending}", pictures.held(grid), pictures.FPS)


def rows(drawn: evaluation.Drawn) -> dict[str, np.ndarray]:
    """The samples of each prompt that is shown, in the order of their noise: prompt to pictures (K, T, H, W, 3)."""
    prompts = list(dict.fromkeys(drawn.prompts))
    return {prompt: drawn.pixels[prompts.index(prompt) :: len(prompts)] for prompt in _spread(prompts, ROWS)}


def _columns(bucket: Bucket) -> int:
    return COLUMNS if bucket[0] == 1 else CLIP_COLUMNS


def _spread(items: list[str], most: int) -> list[str]:
    """At most so many of the items, evenly chosen, first and last among them."""
    if len(items) <= most:
        return items
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]
