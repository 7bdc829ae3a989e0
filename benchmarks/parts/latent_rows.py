"""Rows of latents and texts in Wan's sizes: in a cache of ours, one by one for other layouts, and in a batch.

An image row has a latent of 128 KiB (512 x 512 pixels), a video row one of 4.4 MB (81 frames of 512 x 832); the text of
either has 60 tokens of 4096 bfloat16, as Wan's text encoder gives them. Values are normal: nothing in the layouts that
are compared looks at them but zstd, which finds little in real latents either.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.parts import synthetic_cache
from benchmarks.parts.synthetic_cache import IMAGES, Kind
from frostline.dataset import Dataset, Stored

VIDEOS = Kind(bucket=(81, 512, 832), tokens=60, text_dim=4096, text_length=512)
SHORT = Kind(bucket=(9, 128, 128), tokens=6, text_dim=256, text_length=16)
SMALL = Kind(bucket=(1, 128, 128), tokens=6, text_dim=256, text_length=16)


class Rows(NamedTuple):
    """Which rows, how many, how many of them in a part, and how many are read at a time."""

    name: str
    kind: Kind
    number: int
    part: int
    batch: int

    @property
    def latent(self) -> int:
        """Bytes of a latent."""
        return int(np.prod(self.kind.space.shape(self.kind.bucket))) * 2

    @property
    def text(self) -> int:
        """Bytes of a text."""
        return self.kind.tokens * self.kind.text_dim * 2


IMAGE, VIDEO = Rows("image", IMAGES, 256, 64, 16), Rows("video", VIDEOS, 64, 16, 4)
QUICK = {IMAGE: Rows("image", SMALL, 8, 4, 2), VIDEO: Rows("video", SHORT, 4, 2, 2)}


class Sample(NamedTuple):
    """One row."""

    latent: np.ndarray  # uint16 (C, T', H', W'), which are bfloat16: numpy has none
    text: np.ndarray  # uint16 (tokens, D), likewise


class Batch(NamedTuple):
    """Room for rows as a training reads them: the tokens of all texts one after another, then the latents."""

    texts: np.ndarray  # uint16 (B, tokens, D)
    latents: np.ndarray  # uint16 (B, C, T', H', W')
    room: memoryview  # all of it


def room(rows: Rows) -> Batch:
    """Room for a batch, its pages touched."""
    whole = np.zeros(rows.batch * (rows.text + rows.latent), np.uint8)
    whole[:] = 1  # so that its pages are there
    values, end = whole.view(np.uint16), rows.batch * rows.text // 2
    texts = values[:end].reshape(rows.batch, rows.kind.tokens, rows.kind.text_dim)
    return Batch(texts, values[end:].reshape(rows.batch, *rows.kind.space.shape(rows.kind.bucket)), whole.data)


def cache(root: Path, rows: Rows) -> Dataset:
    """All rows in a cache of ours, in parts as one of some tens of gigabytes has them."""
    return Dataset(*synthetic_cache.make(root, rows.kind, rows=rows.number, part=rows.part))


def samples(dataset: Dataset) -> Iterator[Sample]:
    """All rows of a cache."""
    for row in range(len(dataset)):
        yield _sample(dataset.read([row]), dataset.space.text_dim)


def _sample(stored: Stored, width: int) -> Sample:
    values, end = np.frombuffer(stored.data, np.uint16), stored.outline.lengths[0] * width
    return Sample(values[end:].reshape(stored.outline.tensors.shape), values[:end].reshape(-1, width))
