"""Rows of a made-up manifest, and what they show."""

import dataclasses
from typing import Any

import numpy as np

from frostline.manifest import Row


def row(number: int, frames: int = 1, caption: str = "one", **changed: Any) -> Row:
    """An image, or a clip, of 16 x 16 pixels."""
    return dataclasses.replace(_row(number, frames, caption), **changed)


def prompt(number: int, caption: str, split: str = "train") -> Row:
    """A caption without media."""
    return row(number, frames=0, caption=caption, medium="prompt", split=split)


def _row(number: int, frames: int, caption: str) -> Row:
    return Row(
        id=f"row-{number}",
        source="tiny",
        item=f"item-{number}",
        split="train",
        locator="",
        medium="drawn",
        file="",
        offset=0,
        size=0,
        content=f"content-{number}",
        start=0,
        shown=(),
        pts=(),
        time_base=(0, 1),
        flip=False,
        frames=frames,
        height=16,
        width=16,
        source_width=16,
        source_height=16,
        source_frames=frames,
        source_fps=0.0,
        crop=(0, 0, 16, 16),
        captions=(caption,),
        weights=(1.0,),
        attributes="{}",
    )


def pixels(given: Row) -> np.ndarray:
    """What a row shows: noise of its own."""
    drawn = np.random.default_rng(int(given.item.split("-")[1]))
    return drawn.integers(0, 256, (given.frames, 16, 16, 3), dtype=np.uint8)
