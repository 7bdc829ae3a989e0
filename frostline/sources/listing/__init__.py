"""What a source holds, by the convention its folder follows: media with their captions, none of them opened yet.

metadata        metadata.jsonl or metadata.csv beside images, clips or frame folders (Hugging Face's imagefolder)
sidecars        each medium's captions in a text file beside it
tables          a parquet or CSV table of paths and captions
webdataset      tar shards
fastvideo       videos2caption.json
prompts         captions alone, a line each (not media: read by itself)

Media that nobody describes are entries without captions; media that are named but not there, and whatever a folder
holds that cannot be taken, are rejected by name. A table that is wrong itself (a name twice, a path that leads out, a
text that is none) is refused as a whole: WrongUse names the line.
"""

import operator

from frostline import storage
from frostline.params.sources import AnyMediaParams, FastVideoParams, FolderParams, SidecarParams, TableParams
from frostline.sources.entries import Listing
from frostline.sources.listing import fastvideo, frame_folders, metadata, sidecars, tables, webdataset
from frostline.storage import Blob, ReadAll


def read(source: str, params: AnyMediaParams, read_all: ReadAll = storage.read_all) -> Listing:
    """All media of a source and what cannot be taken, both by locator; ``read_all`` reads texts beside media."""
    return in_order(_read(source, params, read_all))


def in_order(found: Listing) -> Listing:
    """By locator."""
    return Listing(
        sorted(found.entries, key=operator.attrgetter("locator")),
        sorted(found.rejected, key=lambda entry: (entry.locator, entry.reason)),
    )


def root(params: AnyMediaParams) -> str:
    """The folder that files of entries and rows are relative to: the source's path, or the folder of its table."""
    return storage.parent(params.path)[0] if isinstance(params, TableParams) else params.path


def blobs(params: AnyMediaParams, file: str, offset: int, size: int) -> tuple[Blob, ...]:
    """The bytes of a row again, from its ``file``, ``offset`` and ``size``: one blob, or one for each frame."""
    if isinstance(params, FolderParams) and params.kind == "frames":
        return frame_folders.frames(root(params), file)
    return (storage.blob(root(params), file, offset, size),)


def _read(source: str, params: AnyMediaParams, read_all: ReadAll) -> Listing:
    if isinstance(params, FolderParams):
        return metadata.read(source, params)
    if isinstance(params, SidecarParams):
        return sidecars.read(source, params, read_all)
    if isinstance(params, TableParams):
        return tables.read(source, params)
    if isinstance(params, FastVideoParams):
        return fastvideo.read(source, params)
    return webdataset.read(source, params)
