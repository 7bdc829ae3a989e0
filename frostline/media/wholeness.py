"""Is a file all there? Of the containers whose demuxers end early without a word: Matroska and GIF.

The others notice by themselves. What was written as it was filmed (Matroska of unknown length, fragments of mp4) does
not say how long it is, and cut off between two frames it is only shorter.
"""

import io
from typing import BinaryIO

from frostline.media.kinds import Opened, Unusable

_SEGMENT = b"\x18\x53\x80\x67"  # what all of a Matroska file but its head is in
_EXTENSION, _IMAGE, _TRAILER = b"!", b",", b";"  # what the blocks of a GIF begin with


def require(opened: Opened, demuxer: str) -> None:
    """Refuse a file that is shorter than it says."""
    if demuxer == "matroska":
        _require_segment(opened.name, opened.file)
    elif demuxer == "gif":
        _require_trailer(opened.name, opened.file)


def _require_segment(name: str, file: BinaryIO) -> None:
    there = file.seek(0, io.SEEK_END)
    file.seek(4)
    head = _ebml_size(file) or 0
    file.seek(head + file.tell())
    length = _ebml_size(file) if file.read(4) == _SEGMENT else None
    if length is not None and file.tell() + length > there:
        raise Unusable("unreadable", f"{name}: cut off: {there} of {file.tell() + length} bytes")


def _ebml_size(file: BinaryIO) -> int | None:
    """A number of one to eight bytes, as many as the first one's leading zeros say; None for "unknown" and nonsense."""
    first = int.from_bytes(file.read(1), "big")
    more = 8 - first.bit_length()
    if more == 8:
        return None
    value = int.from_bytes(bytes([first]) + file.read(more), "big") - (1 << (7 * (more + 1)))
    return None if value == (1 << (7 * (more + 1))) - 1 else value


def _require_trailer(name: str, file: BinaryIO) -> None:
    """Walk over the blocks of a GIF up to its last byte."""
    file.seek(10)
    _skip_colours(file)
    file.seek(2, io.SEEK_CUR)
    while (kind := file.read(1)) in (_EXTENSION, _IMAGE):
        if kind == _IMAGE:
            file.seek(8, io.SEEK_CUR)
            _skip_colours(file)
        file.seek(1, io.SEEK_CUR)  # an extension's label, or the size of the smallest code
        while length := int.from_bytes(file.read(1), "big"):
            file.seek(length, io.SEEK_CUR)
    if kind != _TRAILER:
        raise Unusable("unreadable", f"{name}: cut off or damaged: a GIF without an end")


def _skip_colours(file: BinaryIO) -> None:
    flags = int.from_bytes(file.read(1), "big")
    file.seek(3 << ((flags & 7) + 1) if flags & 0x80 else 0, io.SEEK_CUR)
