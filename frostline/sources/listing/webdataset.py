"""WebDataset: tar shards in which files of one stem are one sample (00012.jpg, 00012.txt, 00012.json).

Plain tars only, so that a member lies whole at an offset and is read where it is. The stem ends at the first dot of
the file's name, as everywhere in WebDataset; what is an image or a clip, the ending decides here, because a sample
also holds labels, arrays and sound. A sample with several media, without one, or with a name twice is rejected by name,
and so are links, devices and paths that lead out, and a shard that breaks off (what stands before the break is taken).
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO

from frostline import storage
from frostline.errors import WrongUse
from frostline.manifest import Rejected
from frostline.params.sources import WebDatasetParams
from frostline.sources.entries import Caption, Entry, Listing
from frostline.sources.listing import captions, naming
from frostline.storage import Blob

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "avif")
CLIPS = ("mp4", "m4v", "mov", "mkv", "webm", "avi", "gif")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
_DAMAGE = (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError)  # what tarfile raises over headers


@dataclass(slots=True)
class Sample:
    """Files of one stem."""

    stem: str  # with its folder in the shard
    members: dict[str, tuple[str, Blob]] = field(default_factory=dict)  # by ending: name in the shard, bytes
    text: bytes | None = None  # of the caption's member
    twice: str | None = None  # a name that comes again


def read(source: str, params: WebDatasetParams) -> Listing:
    """The samples of all shards below the folder."""
    found, passed = storage.walk(params.path)
    listing = Listing([], naming.untaken(source, passed))
    for name, blob in found:
        if name.endswith(".tar"):
            _read_shard(source, params.caption, name, blob, listing)
        elif naming.is_medium(name):
            listing.rejected.append(_not_a_shard(source, name))
    return listing


def _not_a_shard(source: str, name: str) -> Rejected:
    if name.endswith(COMPRESSED):
        detail = f"{name}: a compressed tar, in which members have no offset; unpack it to a plain .tar"
        return Rejected(source=source, locator=name, reason="compressed_tar", detail=detail)
    detail = f"{name}: not a .tar shard; take it out"
    return Rejected(source=source, locator=name, reason="not_a_tar", detail=detail)


def _read_shard(source: str, caption: str, shard: str, blob: Blob, listing: Listing) -> None:
    ending, _, key = caption.partition(":")
    samples: dict[str, Sample] = {}

    def reject(name: str, reason: str, detail: str) -> None:
        where = f"{shard}/{name}" if name else shard
        listing.rejected.append(Rejected(source=source, locator=where, reason=reason, detail=f"{where}: {detail}"))

    with blob.open() as file:
        try:
            for member in _members(file, blob.size):
                refusal = _refusal(member, blob.size)
                if refusal is not None:
                    reject(_shown(member.name), *refusal)
                elif member.isreg() and not _hidden(member.name):
                    _collect(samples, member, blob, ending, file)
        except _DAMAGE as error:
            reject("", "unreadable", f"{error}; what stands before that is taken")
    for sample in samples.values():
        try:
            listing.entries.append(_entry(shard, sample, key))
        except _Unfit as unfit:
            reject(unfit.name, unfit.reason, str(unfit))


class _Unfit(Exception):
    """A sample that cannot be taken."""

    def __init__(self, name: str, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.name, self.reason = name, reason


def _members(file: BinaryIO, size: int) -> Iterator[tarfile.TarInfo]:
    """Headers in their order; raises tarfile.ReadError where the tar breaks off, runs backwards or goes on hidden."""
    with tarfile.open(fileobj=file, mode="r:", errorlevel=1) as tar:
        before = -1
        while (member := tar.next()) is not None:
            if member.size < 0 or tar.offset <= before:
                raise tarfile.ReadError(f"a header at byte {member.offset} leads backwards")
            before = tar.offset
            yield member
            tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue] - it would keep them all
        _require_end(file, tar.offset, size)


def _require_end(file: BinaryIO, offset: int, size: int) -> None:
    """A tar ends with a block of zeros and nothing after it; tarfile itself ends at any block it cannot read."""
    file.seek(min(offset, size))
    if len(first := file.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it breaks off at byte {size}, without the end mark of a tar")
    if any(first):
        raise tarfile.ReadError(f"no header of a member at byte {offset}")
    while chunk := file.read(1 << 20):
        if any(chunk):
            raise tarfile.ReadError(f"there is data behind the end mark at byte {offset}")


def _refusal(member: tarfile.TarInfo, size: int) -> tuple[str, str] | None:
    """Why a member cannot be taken, as (reason, detail)."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or not storage.nameable(member.name):
        return "unsafe_name", "its name leads out of the shard or cannot be shown; pack it under a plain name"
    if member.issym() or member.islnk():
        return "link", f"a link to {member.linkname!a}; pack the file itself"
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        return "not_a_file", "a device, pipe or sparse file; pack plain files"
    if member.offset_data + member.size > size:
        return "truncated", f"the shard ends before it does, at byte {size}"
    return None


def _shown(name: str) -> str:
    return name if storage.nameable(name) else ascii(name)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _collect(samples: dict[str, Sample], member: tarfile.TarInfo, blob: Blob, ending: str, file: BinaryIO) -> None:
    path = PurePosixPath(member.name)
    stem, _, end = path.name.partition(".")
    sample = samples.setdefault((path.parent / stem).as_posix(), Sample((path.parent / stem).as_posix()))
    if end.lower() in sample.members:
        sample.twice = path.as_posix()
    sample.members[end.lower()] = path.as_posix(), blob.part(member.offset_data, member.size)
    if end.lower() == ending.lower():
        file.seek(member.offset_data)
        sample.text = file.read(min(member.size, captions.LIMIT + 1))


def _entry(shard: str, sample: Sample, key: str) -> Entry:
    if sample.twice is not None:
        raise _Unfit(sample.twice, "duplicate_name", "this name comes twice in the shard; keep one of them")
    media = [end for end in sample.members if end.rpartition(".")[2] in IMAGES + CLIPS]
    if len(media) != 1:
        names = ", ".join(name for name, _ in sample.members.values())
        reason, problem = ("several_media", "several media") if media else ("no_media", "no image or clip")
        raise _Unfit(sample.stem, reason, f"{problem} in one sample ({names}); give each medium a stem of its own")
    name, blob = sample.members[media[0]]
    try:
        described, item, attributes = _described(sample.text, key, name)
    except (ValueError, WrongUse) as error:
        raise _Unfit(name, "caption_unreadable", str(error)) from None
    return Entry(
        locator=f"{shard}/{name}",
        file=shard,
        blobs=(blob,),
        medium=None,
        item=item,
        captions=described,
        attributes=attributes,
    )


def _described(text: bytes | None, key: str, name: str) -> tuple[tuple[Caption, ...], str | None, str]:
    """Captions, item and attributes of the caption's member: a text, or a JSON object with captions at ``key``."""
    if text is None:
        return (), None, "{}"
    if len(text) > captions.LIMIT:
        raise ValueError(f"its caption has more than {captions.LIMIT} bytes")
    if not key:
        return captions.of_text(captions.decode(text)), None, "{}"
    values = naming.json_object(captions.decode(text).encode(), name)
    rest = {other: value for other, value in values.items() if other not in (key, "item")}
    return (
        captions.of_value(values.get(key), name),
        naming.item(values.get("item"), "item", name),
        naming.attributes(rest, name),
    )
