"""Captions in text files beside the media: cats/1.png and cats/1.txt.

What is said of a medium depends on the files of its stem (cats/1) alone.
"""

from collections.abc import Iterable, Sequence

from frostline import storage
from frostline.errors import WrongUse
from frostline.manifest import Rejected
from frostline.params.sources import SidecarParams
from frostline.sources.entries import Caption, Entry, Listing
from frostline.sources.listing import captions, naming
from frostline.storage import Blob, Passed, ReadAll


def read(source: str, params: SidecarParams, read_all: ReadAll = storage.read_all) -> Listing:
    """All media of the folder; one text serves all media of its name."""
    return of_files(source, params, *storage.walk(params.path), read_all)


def stem_of(params: SidecarParams, name: str) -> str:
    """What a medium and its text have in common."""
    return name.removesuffix(params.extension) if name.endswith(params.extension) else naming.split(name)[0]


def of_files(
    source: str,
    params: SidecarParams,
    found: Iterable[tuple[str, Blob]],
    passed: Sequence[Passed],
    read_all: ReadAll = storage.read_all,
) -> Listing:
    """The media among some files of the folder: all files of some stems."""
    texts: dict[str, Blob] = {}
    media: list[tuple[str, str, Blob]] = []
    for name, blob in found:
        if name.endswith(params.extension):
            texts[name.removesuffix(params.extension)] = blob
        else:
            stem, extension = naming.split(name)
            if naming.is_of_medium(extension):
                media.append((name, stem, blob))
    stems = {stem for _, stem, _ in media}
    described, unreadable = _captions(params, {stem: blob for stem, blob in texts.items() if stem in stems}, read_all)
    rejected = naming.untaken(source, passed)
    rejected += [_alone(source, stem + params.extension) for stem in texts if stem not in stems]
    entries: list[Entry] = []
    for name, stem, blob in media:
        if stem in unreadable:
            detail = f"{stem}{params.extension}: {unreadable[stem]}"
            rejected.append(Rejected(source=source, locator=name, reason="caption_unreadable", detail=detail))
        else:
            entries.append(_entry(name, blob, described.get(stem, ())))
    return Listing(entries, rejected)


def _captions(
    params: SidecarParams, texts: dict[str, Blob], read_all: ReadAll
) -> tuple[dict[str, tuple[Caption, ...]], dict[str, str]]:
    """Captions by stem, and by stem why a text cannot be read."""
    parse = captions.of_text if params.lines == "one_caption" else captions.of_lines
    described: dict[str, tuple[Caption, ...]] = {}
    unreadable: dict[str, str] = {}
    for stem, data in zip(texts, read_all(list(texts.values()), captions.LIMIT), strict=True):
        try:
            described[stem] = parse(captions.decode(_bytes(data)))
        except ValueError as error:
            unreadable[stem] = str(error)
    return described, unreadable


def _bytes(data: bytes | WrongUse) -> bytes:
    if isinstance(data, bytes):
        return data
    raise ValueError(str(data).partition(": ")[2])  # without the absolute path


def _entry(name: str, blob: Blob, described: tuple[Caption, ...]) -> Entry:
    return Entry(locator=name, file=name, blobs=(blob,), medium=None, item=None, captions=described, attributes="{}")


def _alone(source: str, name: str) -> Rejected:
    detail = f"{name}: no image or clip of that name lies beside it; add one or take the text out"
    return Rejected(source=source, locator=name, reason="no_media", detail=detail)
