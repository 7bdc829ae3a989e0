"""What a medium holds and shows, from one decode to its end; and the pixels of some of its frames, read again.

Memory does not grow with a clip's length but for its times: frames are looked at as they come, and none is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from frostline import digests
from frostline.media import clips, frames, images, kinds, measures
from frostline.media.clips import Clip
from frostline.media.kinds import Extent, Medium, Opened, Unusable
from frostline.media.measures import Measures, Watch
from frostline.media.scenes import Cuts, Scenes, small_size
from frostline.storage import Blob

if TYPE_CHECKING:
    from av import VideoFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What is refused before it is decoded to the end."""

    max_pixels: int  # in an image or frame
    max_frames: int  # in a clip


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a medium holds and shows."""

    medium: Medium
    content: str  # digest of its bytes; of a frame folder, of the list of its frames' digests
    extent: Extent
    pts: tuple[int, ...]  # of a clip: when each frame is shown, in units of time_base, strictly rising; else ()
    time_base: tuple[int, int]  # seconds, numerator and denominator; (0, 1) where the medium names no rate
    cuts: tuple[int, ...]  # first frames of the second scene, the third, ...
    measures: Measures


def probe(blobs: Sequence[Blob], medium: Medium | None, limits: Limits, scenes: Scenes | None) -> Probe:
    """Decode a medium once, to its end; without a medium its first bytes decide. Raises Unusable with its reason."""
    if medium == "frames" or len(blobs) != 1:
        return _frames(blobs, limits, scenes)
    with kinds.opened(blobs[0]) as opened:
        if (medium or _medium(opened, limits)) == "image":
            return _image(opened, limits)
        return _clip(opened, limits, scenes)


def read(
    blobs: Sequence[Blob], medium: Medium, shown: Sequence[int], pts: Sequence[int], max_pixels: int
) -> np.ndarray:
    """The frames of these numbers, repeats and all: uint8 (T, H, W, 3); of an image its one picture.

    ``pts`` are the times of these frames as a probe told them, of a clip only.
    """
    if medium == "frames":
        return frames.read(blobs, shown, max_pixels)
    with kinds.opened(blobs[0]) as opened:
        if medium == "image":
            return np.asarray(images.decode(opened, max_pixels))[None]
        return clips.read(opened, shown, pts, max_pixels)


def _medium(opened: Opened, limits: Limits) -> Medium:
    """A GIF of one picture is an image, of more a clip."""
    image, clip = kinds.image_format(opened.head), kinds.clip_format(opened.head)
    if image is None and clip is None:
        message = f"{opened.name}: its first bytes announce neither an image nor a clip format that is read here"
        raise Unusable("not_media", message)
    if image and clip:
        return "image" if images.is_one_picture(opened, limits.max_pixels) else "clip"
    return "image" if image else "clip"


def _image(opened: Opened, limits: Limits) -> Probe:
    watch, content = Watch(), kinds.digest(opened)
    grey, (width, height) = images.glance(opened, limits.max_pixels)
    watch.detail(np.asarray(grey))
    watch.look(0, images.thumbnail(grey, measures.SIDE))
    return Probe(
        medium="image",
        content=content,
        extent=Extent(width=width, height=height, frames=1, fps=0.0),
        pts=(),
        time_base=(0, 1),
        cuts=(),
        measures=watch.measures(1),
    )


def _clip(opened: Opened, limits: Limits, scenes: Scenes | None) -> Probe:
    watch, cuts, seen = Watch(), Cuts(scenes) if scenes else None, list[int | None]()
    content = kinds.digest(opened)
    with clips.decoding(opened, limits.max_pixels) as clip:
        frame, number, looked = None, -1, -1
        for number, frame in enumerate(clip.frames()):
            _require_few(clip.name, number + 1, limits)
            seen.append(frame.pts)
            if looked < 0 or clip.apart(seen[looked], frame.pts, measures.LOOKS):
                _look(watch, clip, number, frame)
                looked = number
            if cuts:
                cuts.look(clip.small(frame, *small_size(frame.width, frame.height)))
        assert frame is not None  # noqa: S101 - for the type checker: a clip of no frames is refused
        if looked < number:
            _look(watch, clip, number, frame)
        turns, width, height = clips.quarter_turns(clip.name, frame), frame.width, frame.height
        rate = clip.stream.average_rate
        pts, base = clips.times(seen, clip.stream.time_base, rate)
    if turns % 2:
        width, height = height, width
    fps = clips.frame_rate(pts, base, rate)
    return Probe(
        medium="clip",
        content=content,
        extent=Extent(width=width, height=height, frames=len(pts), fps=fps),
        pts=tuple(pts),
        time_base=base.as_integer_ratio(),
        cuts=cuts.first_frames() if cuts else (),
        measures=watch.measures(len(pts), turns),
    )


def _look(watch: Watch, clip: Clip, number: int, frame: "VideoFrame") -> None:
    if watch.wants_detail:
        watch.detail(*clip.grey(frame, measures.shrinking(frame.width, frame.height)))
    watch.look(number, clip.thumbnail(frame, measures.SIDE))


def _frames(blobs: Sequence[Blob], limits: Limits, scenes: Scenes | None) -> Probe:
    watch, cuts = Watch(), Cuts(scenes) if scenes else None
    contents: list[str] = []
    first: tuple[int, int] | None = None
    _require_few(frames.name(blobs), len(blobs), limits)
    for number, blob in enumerate(blobs):
        with kinds.opened(blob) as opened:
            contents.append(kinds.digest(opened))
            if cuts:
                picture = images.decode(opened, limits.max_pixels)
                cuts.look(images.small(picture, *small_size(*picture.size)))
                grey, size = images.shrunk(picture), picture.size
            else:
                grey, size = images.glance(opened, limits.max_pixels)
        first = first or size
        frames.require_size(blob, size, first)
        if watch.wants_detail:
            watch.detail(np.asarray(grey))
        watch.look(number, images.thumbnail(grey, measures.SIDE))
    if first is None:
        raise Unusable("unreadable", "a folder of no frames")
    return Probe(
        medium="frames",
        content=digests.of_json(contents),
        extent=Extent(width=first[0], height=first[1], frames=len(blobs), fps=0.0),
        pts=(),
        time_base=(0, 1),
        cuts=cuts.first_frames() if cuts else (),
        measures=watch.measures(len(blobs)),
    )


def _require_few(name: str, count: int, limits: Limits) -> None:
    if count > limits.max_frames:
        message = f"{name}: more than {limits.max_frames} frames; cut it, or raise clips.max_frames"
        raise Unusable("too_many_frames", message)
