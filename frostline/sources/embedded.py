"""What Frostline draws itself: the digits, every scan several times, and the world, every scene from its number."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from frostline import digests, digits, manifest, world
from frostline.manifest import Row
from frostline.params.sources import DigitsParams, WorldParams
from frostline.sources import splits

Progress = Callable[[Sequence[Any]], Iterable[Any]]


def rows(source: str, params: DigitsParams | WorldParams, progress: Progress) -> list[Row]:
    """All that is drawn, in a fixed order."""
    if isinstance(params, DigitsParams):
        return _of_digits(source, params, progress)
    return _of_world(source, params, progress)


def pixels(params: DigitsParams | WorldParams, row: Row) -> np.ndarray:
    """Draw a row: uint8 (frames, size, size, 3)."""
    drawn = json.loads(row.attributes)
    if isinstance(params, DigitsParams):
        return digits.render(drawn["scan"], drawn["variant"], row.frames, drawn["motion"], row.width)
    return world.render(world.scene(drawn["scene"]), row.frames, row.width)


# ---------------------------------------------------------------------------------------------------------- the digits


def _of_digits(source: str, params: DigitsParams, progress: Progress) -> list[Row]:
    """Rows of all scans; each scan's are in the split the digits give it."""
    scans = range(len(digits.labels()))
    draws = [(draw.frames, variant) for draw in params.draws for variant in range(draw.per_scan)]
    return [_digit(source, params.size, scan, *draw) for scan in progress(scans) for draw in draws]


def _digit(source: str, size: int, scan: int, frames: int, variant: int) -> Row:
    label, motion = int(digits.labels()[scan]), _motion(scan, frames, variant)
    return _row(
        source,
        item=f"scan-{scan:04d}",
        locator=f"scan-{scan:04d}/{frames}-{variant}",
        split=digits.split(scan),
        drawn=digits.render(scan, variant, frames, motion, size),
        captions=(digits.caption(label, motion),),
        attributes={"label": label, "motion": motion, "scan": scan, "variant": variant},
    )


def _motion(scan: int, frames: int, variant: int) -> digits.Motion | None:
    """None for an image; else drawn by a digest, because neighbouring scans show neighbouring digits."""
    drawn = int(digests.of_json([scan, frames, variant]), 16)
    return None if frames == 1 else digits.MOTIONS[drawn % len(digits.MOTIONS)]


# ----------------------------------------------------------------------------------------------------------- the world


def _of_world(source: str, params: WorldParams, progress: Progress) -> list[Row]:
    """Rows of the scenes from the first number on, at every length; more scenes leave the rows of these as they are."""
    drawn = [(params.first + index, draw.frames) for draw in params.draws for index in range(draw.scenes)]
    return [_scene(source, params, number, frames) for number, frames in progress(drawn)]


def _scene(source: str, params: WorldParams, number: int, frames: int) -> Row:
    """One scene at one length; what has a held-out combination is for the test, all else is dealt."""
    item, scene, clip = f"scene-{number:08d}", world.scene(number), frames > 1
    return _row(
        source,
        item=item,
        locator=f"{item}/{frames}",
        split="test" if world.held_out(scene) else splits.of(item, params.split),
        drawn=world.render(scene, frames, params.size),
        captions=world.captions(scene, clip=clip),
        attributes=world.attributes(scene, clip=clip),
    )


# ------------------------------------------------------------------------------------------------------------- the row


def _row(
    source: str,
    *,
    item: str,
    locator: str,
    split: str,
    drawn: np.ndarray,
    captions: tuple[str, ...],
    attributes: dict[str, Any],
) -> Row:
    """The row of something drawn: the whole of it."""
    frames, height, width, _ = drawn.shape
    return manifest.without_file(
        source,
        item=item,
        split=split,
        locator=locator,
        medium="drawn",
        content=digests.of_bytes(drawn.tobytes()),
        bucket=(frames, height, width),
        captions=captions,
        attributes=digests.canonical(attributes),
    )
