"""What a file is, by its first bytes, and what it holds."""

import contextlib
import io
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from frostline import digests, storage
from frostline.errors import WrongUse
from frostline.storage import Blob

Medium = Literal["image", "clip", "frames"]
Mark = tuple[int, bytes]  # where in the file, which bytes

HEAD = 32  # bytes that say what a file is
OUT_OF_MEMORY = "out_of_memory"  # a reason that may not hold the next time
IN_MEMORY = 16 << 20  # a file up to this size is read once and decoded from memory

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
_OBJECT = re.compile(r" ?<_io\.[^>]*>")  # how Python shows an open file
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


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Bytes ready to be decoded."""

    name: str  # as messages show it
    head: bytes  # the first HEAD bytes
    file: BinaryIO  # at its start


@contextlib.contextmanager
def opened(blob: Blob) -> Iterator[Opened]:
    """Open a blob to be decoded, a small one from memory; raises Unusable: absent, not_a_file, changed, unreadable."""
    name = shown(blob)
    with _reasons(blob, name), blob.open() as plain:
        file = io.BytesIO(plain.read()) if blob.size <= IN_MEMORY else plain
        head = file.read(HEAD)
        file.seek(0)
        yield Opened(name=name, head=head, file=file)


def digest(opened: Opened) -> str:
    """The digest of the bytes, which are then at their start again."""
    if isinstance(opened.file, io.BytesIO):
        return digests.of_bytes(opened.file.getbuffer())
    found = digests.of_stream(opened.file)
    opened.file.seek(0)
    return found


def shown(blob: Blob) -> str:
    """How messages name a blob: its path on one line, and where in it unless it is the whole file."""
    path = blob.path if storage.nameable(blob.path) else ascii(blob.path)
    return f"{path} (from byte {blob.offset} on)" if blob.offset else path


def image_format(head: bytes) -> str | None:
    """Pillow's name of the image format the first bytes announce, or None."""
    return _announced(head, _IMAGES)


def clip_format(head: bytes) -> str | None:
    """The demuxer for the container the first bytes announce, or None."""
    return None if head[4:8] == b"ftyp" and head[8:12] in _STILLS_IN_MOV else _announced(head, _CLIPS)


def require_pixels(name: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse a header that announces more than ``max_pixels`` a frame, before anything is decoded."""
    if width * height > max_pixels:
        message = f"{name}: {width} x {height} pixels, but max_pixels is {max_pixels}; shrink it or raise max_pixels"
        raise Unusable("too_many_pixels", message)


def out_of_memory(name: str) -> Unusable:
    """What is to be said of a file for which there was not enough memory."""
    message = (
        f"{name}: memory ran out while it was decoded, or it is damaged and asks for too much; leave more memory free, "
        "or lower what is decoded at once: `--processes` of prepare, `encode_batch` of the cache, or the source's "
        "`max_pixels`, which leaves the largest media out"
    )
    return Unusable(OUT_OF_MEMORY, message)


def first_line(error: BaseException) -> str:
    """The first line of what a library says went wrong, without the addresses of its objects: the same each time."""
    return _OBJECT.sub("", (str(error) or type(error).__name__).splitlines()[0])


@contextlib.contextmanager
def _reasons(blob: Blob, name: str) -> Iterator[None]:
    """Look before opening, as opening a pipe would wait for ever, and say why a blob cannot be opened or read."""
    try:
        if not storage.is_remote(blob.path) and not stat.S_ISREG(Path(blob.path).stat().st_mode):
            raise Unusable("not_a_file", f"{name}: a folder, pipe, socket or device; name a file")
        yield
    except (storage.Gone, FileNotFoundError, NotADirectoryError):
        raise Unusable("absent", f"{name}: no such file") from None
    except storage.Changed as error:
        raise Unusable("changed", first_line(error)) from None
    except OSError as error:
        raise Unusable("unreadable", f"{name}: {error.strerror or first_line(error)}") from None


def _announced(head: bytes, formats: Sequence[tuple[str, Sequence[Mark]]]) -> str | None:
    for name, marks in formats:
        if all(head[at : at + len(mark)] == mark for at, mark in marks):
            return name
    return None
