"""What was found of a medium as one line of JSON: between processes, and in tables that are kept.

Where the medium lies is not in it: the same bytes elsewhere have the same line.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from frostline.media.kinds import Extent, Medium
from frostline.media.measures import Measures
from frostline.media.probing import Probe
from frostline.storage import Blob

SELF = "\0"  # stands for the medium's path in messages


@dataclass(frozen=True, slots=True)
class Failure:
    """A medium that cannot be taken."""

    reason: str
    message: str
    content: str | None  # digest of its bytes, where they say so themselves and would again


Found = Probe | Failure


def place(blobs: Sequence[Blob], medium: Medium | None) -> str:
    """The path of a medium's file, or of its folder of frames, as messages have it."""
    return blobs[0].path if medium != "frames" else blobs[0].path.rpartition("/")[0]


def text(found: Found, where: str) -> str:
    """One line; ``where`` is the medium's place."""
    if isinstance(found, Failure):
        return json.dumps([found.reason, found.message.replace(where, SELF), found.content])
    extent, shown = found.extent, found.measures
    steps = [after - before for before, after in zip((0, *found.pts), found.pts, strict=False)]
    size = [extent.width, extent.height, extent.frames, extent.fps]
    seen = [shown.brightness, shown.sharpness, shown.motion, shown.hashes]
    return json.dumps([found.medium, found.content, size, steps, found.time_base, found.cuts, seen])


def read(line: str, where: str) -> Found:
    """What a line says of a medium that lies at ``where``."""
    values = json.loads(line)
    if len(values) == 3:
        reason, message, content = values
        return Failure(reason, message.replace(SELF, where), content)
    medium, content, (width, height, frames, fps), steps, base, cuts, (brightness, sharpness, motion, hashes) = values
    total = 0
    return Probe(
        medium=medium,
        content=content,
        extent=Extent(width=width, height=height, frames=frames, fps=fps),
        pts=tuple([total := total + step for step in steps]),
        time_base=tuple(base),
        cuts=tuple(cuts),
        measures=Measures(brightness=brightness, sharpness=sharpness, motion=motion, hashes=tuple(hashes)),
    )
