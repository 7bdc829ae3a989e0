"""What a file is, by its first bytes, and what it holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from frostline.errors import WrongUse

Mark = tuple[int, bytes]  # where in the file, which bytes

_IMAGES: tuple[tuple[str, tuple[Mark, ...]], ...] = (
    ("PNG", ((0, b"\x89PNG\r\n\x1a\n"),)),
    ("JPEG", ((0, b"\xff\xd8\xff"),)),
    ("WEBP", ((0, b"RIFF"), (8, b"WEBP"))),
    ("GIF", ((0, b"GIF8"),)),
    ("BMP", ((0, b"BM"),)),
    ("TIFF", ((0, b"II*\0"),)),
    ("TIFF", ((0, b"MM\0*"),)),
    ("AVIF", ((4, b"ftypavif"),)),
)
_CLIPS: tuple[tuple[str, tuple[Mark, ...]], ...] = (
    ("mov", ((4, b"ftyp"),)),  # mp4, m4v, mov
    ("mov", ((4, b"moov"),)),  # QuickTime from before the ftyp box
    ("mov", ((4, b"mdat"),)),
    ("matroska", ((0, b"\x1aE\xdf\xa3"),)),  # mkv, webm
    ("avi", ((0, b"RIFF"), (8, b"AVI "))),
    ("gif", ((0, b"GIF8"),)),
)
_STILLS_IN_MOV = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # brands of pictures in an mp4 box


class Unusable(WrongUse):
    """A file that cannot be taken as the image or clip it should be; ``reason`` is one word for tables."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What a file holds, upright: pixels, frames, and frames per second (0.0 where the file names none)."""

    width: int
    height: int
    frames: int
    fps: float


def image_format(path: str | Path) -> str | None:
    """Pillow's name of the image format the first bytes announce, or None."""
    return _announced(_head(Path(path)), _IMAGES)


def clip_format(path: str | Path) -> str | None:
    """The demuxer for the container the first bytes announce, or None."""
    head = _head(Path(path))
    return None if head[4:8] == b"ftyp" and head[8:12] in _STILLS_IN_MOV else _announced(head, _CLIPS)


def require_pixels(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Refuse a header that announces more than ``max_pixels`` a frame, before anything is decoded."""
    if width * height > max_pixels:
        message = f"{path}: {width} x {height} pixels, but max_pixels is {max_pixels}; shrink it or raise max_pixels"
        raise Unusable("too_many_pixels", message)


def first_line(error: BaseException) -> str:
    """The first line of what a library says went wrong."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except FileNotFoundError:
        raise Unusable("absent", f"{path}: no such file") from None
    except OSError as error:
        raise Unusable("unreadable", f"{path}: {error.strerror}") from None


def _announced(head: bytes, formats: Sequence[tuple[str, Sequence[Mark]]]) -> str | None:
    for name, marks in formats:
        if all(head[at : at + len(mark)] == mark for at, mark in marks):
            return name
    return None
