"""Clips: decoded by the one demuxer their first bytes announce, frames counted and not believed.

Rules:  the first stream of moving pictures; sound, subtitles and cover pictures are ignored. Frames stand in the order
        they are shown, turned as the display matrix says, transparency over white. A clip of 720 lines or more that
        does not name its colours has those of BT.709, a smaller one BT.601.
Times:  a frame is shown from its presentation time (pts, in units of the stream's time base) on. Where a file gives
        no times or not strictly rising ones, frames are numbered, and a unit is one over the file's average rate.
"""

import contextlib
import mmap
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from frostline.media import kinds, wholeness
from frostline.media.kinds import Opened, Unusable

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

_HD_LINES = 720  # an untagged clip of at least so many lines has BT.709 colours, a smaller one BT.601
_UNTAGGED = 2  # "unspecified" among the matrix coefficients of ITU-T H.273
_FULL_RANGE = 2  # the color_range of luma from 0 to 255, not 16 to 235
_LUMA_FIRST = frozenset({"yuv420p", "yuv422p", "yuv444p", "nv12"})  # 8 bits, a plane of luma
_TO_FULL_RANGE = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)
_ROWS_SEEN = 64  # of a frame, at least, for a thumbnail
_FRAMES_HELD = 16  # by a decoder, at most
_STEPS_BACK = (0, 1, 4, 16)  # seconds before the first wanted frame where reading tries to begin


class Clip:
    """A clip being decoded."""

    def __init__(self, name: str, container: "InputContainer", stream: "VideoStream", max_pixels: int) -> None:
        from av.video.reformatter import VideoReformatter

        self.name, self.container, self.stream, self.max_pixels = name, container, stream, max_pixels
        self._unit = float(stream.time_base or 0)  # seconds
        self._greying, self._colouring = VideoReformatter(), VideoReformatter()  # each set up once

    def frames(self) -> "Iterator[VideoFrame]":
        """The frames in the order they are shown; refuses damage and a change of size on the way."""
        size = None
        for packet in self.container.demux(self.stream):
            for frame in packet.decode():
                if packet.is_corrupt or frame.is_corrupt:
                    raise Unusable("unreadable", f"{self.name}: damaged or cut off")
                if size is None:
                    kinds.require_pixels(self.name, frame.width, frame.height, self.max_pixels)
                    size = (frame.width, frame.height)
                if size != (frame.width, frame.height):
                    message = f"{self.name}: changes from {size} to {frame.width, frame.height} pixels on its way"
                    raise Unusable("unreadable", message)
                yield frame
        if size is None:
            raise Unusable("unreadable", f"{self.name}: no frame of it decodes")

    def thumbnail(self, frame: "VideoFrame", side: int) -> np.ndarray:
        """A frame as it lies in the file, in ``side`` x ``side`` levels from black to white: uint8."""
        plane, limited = self._grey(frame)
        apart = max(1, frame.height // _ROWS_SEEN)
        rows = Image.frombuffer(
            "L", (frame.width, frame.height // apart), plane, "raw", "L", plane.line_size * apart, 1
        )
        levels = np.asarray(rows.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0))
        return _TO_FULL_RANGE[levels] if limited else levels

    def grey(self, frame: "VideoFrame", shrink: int) -> tuple[np.ndarray, int]:
        """A frame as it lies in the file, shrunk, in grey, uint8 (H, W), and its steps from black to white."""
        plane, limited = self._grey(frame)
        steps = 219 if limited else 255
        if shrink == 1:
            return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width], steps
        whole = Image.frombuffer("L", (frame.width, frame.height), plane, "raw", "L", plane.line_size, 1)
        return np.asarray(whole.reduce(shrink)), steps

    def small(self, frame: "VideoFrame", width: int, height: int) -> np.ndarray:
        """A frame as it lies in the file, at a small size, as OpenCV has it: uint8 (height, width, BGR)."""
        plain = _opaque(frame)
        return self._colouring.reformat(plain, width, height, "bgr24", interpolation="AREA", threads=1).to_ndarray()

    def _grey(self, frame: "VideoFrame") -> tuple[Any, bool]:
        """The brightness of a frame, 8 bits a pixel, and whether it is from 16 to 235."""
        name = frame.format.name
        if name in _LUMA_FIRST:
            return frame.planes[0], frame.color_range != _FULL_RANGE
        if not name.startswith("yuvj"):
            frame = self._greying.reformat(_opaque(frame), format="gray", threads=1)
        return frame.planes[0], False

    def apart(self, before: int | None, after: int | None, rate: int) -> bool:
        """Are two times at least one over ``rate`` seconds apart, to half a unit, or is nothing known of it?"""
        if before is None or after is None or after < before or not self._unit:
            return True
        return (after - before + 0.5) * rate * self._unit >= 1

    def seek(self, seconds: int, before: int) -> bool:
        """Go to a place from which all frames at ``seconds`` before a time can be decoded; False where that fails."""
        import av

        try:
            self.container.seek(before - round(seconds / (self.stream.time_base or 1)), stream=self.stream)
        except (av.FFmpegError, OSError):
            return False
        return True


@contextlib.contextmanager
def decoding(opened: Opened, max_pixels: int) -> Iterator[Clip]:
    """Open a clip's pictures. No protocol is allowed and no other file is opened, whatever the clip asks for."""
    import av

    demuxer = kinds.clip_format(opened.head)
    if demuxer is None:
        raise Unusable("not_a_clip", f"{opened.name}: its first bytes announce no clip format that is read here")
    room = str(max_pixels + max_pixels // 4 + (1 << 16))  # decoders round sizes up to whole blocks
    options = {"protocol_whitelist": "none", "max_pixels": room, "threads": "1"}
    wholeness.require(opened, demuxer)
    opened.file.seek(0)
    pixels = 0
    try:
        with av.open(opened.file, "r", format=demuxer, options=options, io_open=_refuse) as container:
            stream = _pictures(opened.name, container)
            context = stream.codec_context
            kinds.require_pixels(opened.name, context.width, context.height, max_pixels)
            pixels = context.width * context.height
            context.options = {"max_pixels": room}
            context.thread_count = 1
            yield Clip(opened.name, container, stream, max_pixels)
    except MemoryError:  # FFmpeg's own too
        raise kinds.out_of_memory(opened.name) from None
    except av.FFmpegError as error:
        if not _has_room(pixels):
            raise kinds.out_of_memory(opened.name) from None
        raise Unusable("unreadable", f"{opened.name}: {error.strerror}") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise Unusable("unreadable", f"{opened.name}: {kinds.first_line(error)}") from None


def _has_room(pixels: int) -> bool:
    """Is there memory for as many frames as decoders hold? One that finds none for a frame calls the file damaged."""
    try:
        mmap.mmap(-1, 1 + 3 * pixels * _FRAMES_HELD).close()  # asked for, not touched: it costs nothing
    except OSError:
        return False
    return True


def read(opened: Opened, shown: Sequence[int], pts: Sequence[int], max_pixels: int) -> np.ndarray:
    """The frames of these numbers, shown from these times on: uint8 (T, H, W, 3).

    Decodes from the nearest key frame before the first to the last. Times that are the frames' numbers are no times of
    the file, or as good as none: those frames are counted from the start.
    """
    if list(shown) != list(pts):
        for seconds in _STEPS_BACK:
            found = _sought(opened, seconds, pts, max_pixels)
            if found is not None:
                return found
    return _counted(opened, shown, pts, max_pixels)


def quarter_turns(name: str, frame: "VideoFrame") -> int:
    """Counterclockwise quarter turns that bring a frame upright."""
    turns, rest = divmod(round(frame.rotation), 90)
    if rest:
        message = f"{name}: to be shown turned by {frame.rotation} degrees; only right angles are read"
        raise Unusable("unreadable", message)
    return turns % 4


def times(seen: Sequence[int | None], base: Fraction | None, rate: Fraction | None) -> tuple[list[int], Fraction]:
    """(times of the frames, their unit in seconds); without strictly rising ones in the file, see the module."""
    given = [time for time in seen if time is not None]
    if base and len(given) == len(seen) and all(before < after for before, after in pairwise(given)):
        return given, base
    return list(range(len(seen))), 1 / rate if rate else Fraction(0)


def frame_rate(pts: Sequence[int], base: Fraction, rate: Fraction | None) -> float:
    """Frames per second: the file's average rate where the frames' times bear it out to a unit, else theirs."""
    if len(pts) < 2 or not base:
        return float(rate or 0)
    span = (pts[-1] - pts[0]) * base
    if rate and abs(span - (len(pts) - 1) / rate) <= base:
        return float(rate)
    return float((len(pts) - 1) / span)


def _sought(opened: Opened, seconds: int, pts: Sequence[int], max_pixels: int) -> np.ndarray | None:
    """The frames at these times, or None where seeking does not lead to every one of them."""
    wanted, first, last = set(pts), min(pts), max(pts)
    taken: dict[int, np.ndarray] = {}
    with contextlib.suppress(Unusable), decoding(opened, max_pixels) as clip:
        if not clip.seek(seconds, first):
            return None
        whole = False  # what comes before the first key frame may lack what it was coded from
        for frame in clip.frames():
            whole = whole or frame.key_frame
            if not whole:
                continue
            if frame.pts is None or (not taken and frame.pts > first):
                return None
            if frame.pts in wanted:
                taken[frame.pts] = upright(clip.name, frame)
            if frame.pts >= last:
                break
    return np.stack([taken[time] for time in pts]) if len(taken) == len(wanted) else None


def _counted(opened: Opened, shown: Sequence[int], pts: Sequence[int], max_pixels: int) -> np.ndarray:
    """The frames of these numbers, decoded from the start; refuses those that are not shown at these times."""
    when = dict(zip(shown, pts, strict=True))
    taken: dict[int, np.ndarray] = {}
    with decoding(opened, max_pixels) as clip:
        for number, frame in enumerate(clip.frames()):
            if number in when:
                if when[number] not in (number, frame.pts):
                    message = f"{clip.name}: frame {number} is shown at {frame.pts}, not at {when[number]}"
                    raise Unusable("changed", f"{message}; run prepare again")
                taken[number] = upright(clip.name, frame)
            if len(taken) == len(when):
                return np.stack([taken[number] for number in shown])
    raise Unusable("too_short", f"{opened.name}: ends before frame {max(shown) + 1}")


def upright(name: str, frame: "VideoFrame") -> np.ndarray:
    """One frame as uint8 (H, W, 3), its colours as tagged, turned as its display matrix says."""
    from av.video.reformatter import Colorspace

    turns = quarter_turns(name, frame)
    frame = _opaque(frame)
    matrix = Colorspace.ITU709 if frame.colorspace == _UNTAGGED and frame.height >= _HD_LINES else None
    pixels = frame.reformat(format="rgb24", src_colorspace=matrix, threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, turns))


def _opaque(frame: "VideoFrame") -> "VideoFrame":
    """A frame over white."""
    import av

    if not any(component.is_alpha for component in frame.format.components):
        return frame
    pixels = frame.reformat(format="rgba", threads=1).to_ndarray().astype(np.uint16)  # (H, W, 4)
    share = pixels[..., 3:]
    laid = (pixels[..., :3] * share + 255 * (255 - share) + 127) // 255
    return av.VideoFrame.from_ndarray(laid.astype(np.uint8), format="rgb24")


def _pictures(name: str, container: "InputContainer") -> "VideoStream":
    """The first stream of moving pictures that can be decoded; a cover picture is none."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if Disposition.attached_pic not in stream.disposition and stream.codec_context is not None:
            return stream
    raise Unusable("not_a_clip", f"{name}: holds no moving pictures that can be decoded here")


def _refuse(url: str, _flags: int, _options: dict[str, Any]) -> Any:
    raise PermissionError(f"asks for another file, {url!r}, which is never opened")
