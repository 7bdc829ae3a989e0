"""Clips: decoded by the one demuxer their first bytes announce, frames counted and not believed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frostline.media import kinds
from frostline.media.kinds import Extent, Unusable

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

_HD_LINES = 720  # an untagged clip of at least so many lines has BT.709 colours, a smaller one BT.601
_UNTAGGED = 2  # "unspecified" among the matrix coefficients of ITU-T H.273


def read_clip(path: str | Path, start: int, frames: int, max_pixels: int) -> np.ndarray:
    """``frames`` frames of a clip from frame ``start`` on: uint8 (T, H, W, 3); raises Unusable with its reason."""
    path = Path(path)
    taken: list[np.ndarray] = []
    with _opened(path, max_pixels) as (container, stream):
        for index, frame in enumerate(_decoded(path, container, stream)):
            if index >= start:
                taken.append(_upright(path, frame))
            if len(taken) == frames:
                return np.stack(taken)
    raise Unusable("too_short", f"{path}: ends before frame {start + frames}")


def measure_clip(path: str | Path, max_pixels: int) -> Extent:
    """Decode a clip to the end and say what it holds."""
    path = Path(path)
    with _opened(path, max_pixels) as (container, stream):
        decoded = _decoded(path, container, stream)
        height, width, _ = _upright(path, next(decoded)).shape
        count = 1 + sum(1 for _ in decoded)
        fps = float(stream.average_rate or 0)
    return Extent(width=width, height=height, frames=count, fps=fps)


@contextlib.contextmanager
def _opened(path: Path, max_pixels: int) -> "Iterator[tuple[InputContainer, VideoStream]]":
    """Open a clip's pictures; no protocol is allowed, so it can reach no other file."""
    import av

    demuxer = kinds.clip_format(path)
    if demuxer is None:
        raise Unusable("not_a_clip", f"{path}: its first bytes announce no clip format that is read here")
    alone = {"protocol_whitelist": "none"}
    try:
        with path.open("rb") as file, av.open(file, "r", format=demuxer, options=alone) as container:
            stream = _pictures(path, container)
            kinds.require_pixels(path, stream.codec_context.width, stream.codec_context.height, max_pixels)
            stream.codec_context.thread_count = 1
            yield container, stream
    except (av.FFmpegError, OSError, EOFError, UnicodeDecodeError) as error:
        raise Unusable("unreadable", f"{path}: {kinds.first_line(error)}") from None


def _pictures(path: Path, container: "InputContainer") -> "VideoStream":
    """The first stream of moving pictures that can be decoded; a cover picture is none."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if Disposition.attached_pic not in stream.disposition and stream.codec_context is not None:
            return stream
    raise Unusable("not_a_clip", f"{path}: holds no moving pictures that can be decoded here")


def _decoded(path: Path, container: "InputContainer", stream: "VideoStream") -> "Iterator[VideoFrame]":
    """The frames of a clip in the order they are shown; refuses damage and a change of size on the way."""
    size = None
    for packet in container.demux(stream):
        for frame in packet.decode():
            if packet.is_corrupt or frame.is_corrupt:
                raise Unusable("unreadable", f"{path}: damaged or cut off")
            size = size or (frame.width, frame.height)
            if size != (frame.width, frame.height):
                raise Unusable("unreadable", f"{path}: changes from {size} to {frame.width, frame.height} pixels")
            yield frame
    if size is None:
        raise Unusable("unreadable", f"{path}: no frame of it decodes")


def _upright(path: Path, frame: "VideoFrame") -> np.ndarray:
    """One frame as uint8 (H, W, 3), its colours as tagged, turned as its display matrix says."""
    from av.video.reformatter import Colorspace

    turns, rest = divmod(round(frame.rotation), 90)
    if rest:
        raise Unusable(
            "unreadable", f"{path}: to be shown turned by {frame.rotation} degrees; only right angles are read"
        )
    matrix = Colorspace.ITU709 if frame.colorspace == _UNTAGGED and frame.height >= _HD_LINES else None
    return np.ascontiguousarray(np.rot90(frame.reformat(format="rgb24", src_colorspace=matrix).to_ndarray(), turns))
