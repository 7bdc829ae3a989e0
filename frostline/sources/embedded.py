"""The embedded digits: every scan drawn several times, as images and as drifting clips."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from frostline import digests, digits, manifest
from frostline.manifest import Row
from frostline.params import DigitsParams


def rows(source: str, params: DigitsParams, progress: Callable[[Sequence[int]], Iterable[int]]) -> list[Row]:
    """Rows of all scans; each scan's are in the split the digits give it."""
    scans = range(len(digits.labels()))
    draws = [(draw.frames, variant) for draw in params.draws for variant in range(draw.per_scan)]
    return [_row(source, params.size, scan, frames, variant) for scan in progress(scans) for frames, variant in draws]


def pixels(row: Row) -> np.ndarray:
    """Draw a row: uint8 (frames, size, size, 3)."""
    drawn = json.loads(row.attributes)
    return digits.render(drawn["scan"], drawn["variant"], row.frames, drawn["motion"], row.width)


def _row(source: str, size: int, scan: int, frames: int, variant: int) -> Row:
    label, motion = int(digits.labels()[scan]), _motion(scan, frames, variant)
    locator = f"scan-{scan:04d}/{frames}-{variant}"
    content = digests.of_bytes(digits.render(scan, variant, frames, motion, size).tobytes())
    crop = (0, 0, size, size)
    drawn: dict[str, Any] = {"label": label, "motion": motion, "scan": scan, "variant": variant}
    return Row(
        id=manifest.identity(source, locator, content, 0, (frames, size, size), crop),
        source=source,
        item=f"scan-{scan:04d}",
        split=digits.split(scan),
        locator=locator,
        medium="drawn",
        file="",
        offset=0,
        size=0,
        content=content,
        start=0,
        shown=(),
        pts=(),
        time_base=(0, 1),
        flip=False,
        frames=frames,
        height=size,
        width=size,
        source_width=size,
        source_height=size,
        source_frames=frames,
        source_fps=0.0,
        crop=crop,
        captions=(digits.caption(label, motion),),
        weights=(1.0,),
        attributes=digests.canonical(drawn),
    )


def _motion(scan: int, frames: int, variant: int) -> digits.Motion | None:
    """None for an image; else drawn by a digest, because neighbouring scans show neighbouring digits."""
    drawn = int(digests.of_json([scan, frames, variant]), 16)
    return None if frames == 1 else digits.MOTIONS[drawn % len(digits.MOTIONS)]
