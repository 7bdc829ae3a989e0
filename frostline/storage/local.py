"""Files on a local disk."""

import errno
import io
import os
import stat
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from frostline.errors import WrongUse
from frostline.storage.extents import Changed, Extent, Gone, Passed, Walked, nameable, unprintable, window
from frostline.storage.ranges import Wanted

CHUNK = 1 << 16


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


def look(path: str) -> Extent:
    """A file as it is now; raises Gone, and WrongUse if it is none."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _error(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise WrongUse(f"{path}: not a file; name a file")
    return Extent(path, 0, status.st_size, _stamp(status))


def _error(path: str, error: OSError) -> WrongUse:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Gone(f"{path}: no such file")
    return WrongUse(f"{path}: {error.strerror}")


def open_(entry: Extent) -> BinaryIO:
    """A seekable reader of a file or a part of it; raises Gone, and Changed where it has another size now."""
    if entry.offset == 0:
        return io.BufferedReader(io.FileIO(_handle(entry)))
    part = Reader(entry)
    return window(entry.size, part.fill_one, part.close, CHUNK)


def _handle(entry: Extent) -> int:
    try:
        handle = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _error(entry.path, error if isinstance(error, OSError) else OSError(0, str(error))) from None
    there = os.fstat(handle).st_size
    if there < entry.offset + entry.size or (entry.offset == 0 and there != entry.size):
        os.close(handle)
        raise Changed(f"{entry.path}: {there} bytes, another size than when it was listed; run again")
    return handle


class Reader:
    """Reads many ranges of one file, which stays open: see ``ranges.Reader``."""

    def __init__(self, entry: Extent) -> None:
        """Raises Gone, and Changed where it has another size now."""
        self.entry = entry
        self._handle = _handle(entry)
        self.close = weakref.finalize(self, os.close, self._handle)

    def __reduce__(self) -> tuple[type["Reader"], tuple[Extent]]:
        return Reader, (self.entry,)

    def fill(self, wanted: Wanted) -> bool:
        """See ``ranges.Reader``; one system call for each range."""
        handle, offset, end = self._handle, self.entry.offset, self.entry.size
        for place, view in wanted:
            if place + len(view) > end or os.preadv(handle, [view], offset + place) != len(view):
                self.fill_one(place, view)
        return False

    def fill_one(self, place: int, view: memoryview) -> None:
        """Fill a view of any length; one system call brings no more than 2 GiB."""
        done = 0
        while done < len(view):
            count = os.preadv(self._handle, [view[done:]], self.entry.offset + place + done)
            if count == 0 or place + len(view) > self.entry.size:
                raise Changed(f"{self.entry.path}: ends before byte {self.entry.offset + place + len(view)}; run again")
            done += count

    def expect(self, wanted: Sequence[tuple[int, int]]) -> None:
        """See ``ranges.Reader``: the kernel reads ahead."""
        for place, length in wanted:
            os.posix_fadvise(self._handle, self.entry.offset + place, length, os.POSIX_FADV_WILLNEED)

    def forget(self, wanted: Sequence[tuple[int, int]]) -> None:
        """Nothing is kept."""

    def open(self) -> BinaryIO:
        """See ``ranges.Reader``: of the file that is open, whatever its name stands for by now."""
        return window(self.entry.size, self.fill_one, lambda: None, CHUNK)


def walk(root: str) -> Walked:
    """All files below a folder; raises WrongUse if it is none."""
    above, (found, passed) = root.rstrip("/"), stamps(root)
    files = ((folder + name, stamp) for folder, lines in found.items() for name, stamp in by_name(lines))
    return [(name, stamped(f"{above}/{name}", stamp)) for name, stamp in files], passed


def stamps(root: str) -> tuple[dict[str, str], list[Passed]]:
    """By folder (relative, with a slash at its end) the names and stamps of its files: see ``by_name``.

    A folder with the same text is the same as it was, and no more need be done for its files.
    """
    if not Path(root).is_dir():
        raise WrongUse(f"{root}: no such folder; correct the path of its source in params.yaml")
    found: dict[str, str] = {}
    passed: list[Passed] = []
    folders = [""]
    while folders:
        inside = folders.pop()
        try:
            handle = os.open(f"{root.rstrip('/')}/{inside}", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            passed.append(Passed(inside or ".", "unreadable", f"{inside or root}: {error.strerror}"))
            continue
        try:
            there, below = _look_into(handle, inside, passed)
        finally:
            os.close(handle)
        found[inside] = "".join(there)
        folders += below
    return found, passed


def line(name: str, stamp: str) -> str:
    """What ``stamps`` says of a file."""
    return f"{name}\0{stamp}\n"


def by_name(lines: str) -> Iterator[tuple[str, str]]:
    """The names and stamps of the files of a folder."""
    for line in lines.split("\n")[:-1]:
        name, _, stamp = line.partition("\0")
        yield name, stamp


def stamped(path: str, stamp: str) -> Extent:
    """A whole file as it was when it had this stamp."""
    return Extent(path, 0, int(stamp[: stamp.index("-")]), stamp)


def _look_into(handle: int, inside: str, passed: list[Passed]) -> tuple[list[str], list[str]]:
    """A line for each file of a folder, and the folders in it.

    The folder is open, as by its name the kernel would go to each file from the root on.
    """
    lines: list[str] = []
    folders: list[str] = []
    with os.scandir(handle) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if not nameable(name):
                passed.append(unprintable(inside + name))
            elif entry.is_dir(follow_symlinks=False):
                folders.append(f"{inside}{name}/")
            else:
                try:
                    status = entry.stat()
                except OSError as error:
                    passed.append(_lost(inside + name, error))
                    continue
                if stat.S_ISREG(status.st_mode):
                    lines.append(line(name, _stamp(status)))
                else:
                    passed.append(_no_file(inside + name, status))
    return lines, folders


def _lost(name: str, error: OSError) -> Passed:
    reason = "absent" if error.errno in (errno.ENOENT, errno.ELOOP) else "unreadable"
    return Passed(name, reason, f"{name}: a link that cannot be followed ({error.strerror})")


def _no_file(name: str, status: os.stat_result) -> Passed:
    if stat.S_ISDIR(status.st_mode):
        detail = f"{name}: a link to a folder, which is not followed; put the folder itself there"
        return Passed(name, "link_to_folder", detail)
    return Passed(name, "not_a_file", f"{name}: a pipe, socket or device; take it out")
