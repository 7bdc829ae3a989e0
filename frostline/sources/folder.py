"""Folders people have: images, clips or frame folders, described by a metadata.jsonl (Hugging Face's imagefolder)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frostline import digests, manifest, media
from frostline.manifest import Rejected, Row
from frostline.media import Extent
from frostline.params import FolderParams
from frostline.sources import buckets, metadata, splits, windows
from frostline.sources.metadata import Entry


@dataclass(frozen=True, kw_only=True)
class Medium:
    """How one kind of media is measured, read and identified."""

    measure: Callable[[Path, int], Extent]  # path, max_pixels
    read: Callable[[Path, int, int, int], np.ndarray]  # path, start, frames, max_pixels
    digest: Callable[[Path], str]
    is_folder: bool


def _read_image(path: Path, _start: int, _frames: int, max_pixels: int) -> np.ndarray:
    return media.read_image(path, max_pixels)[None]


def _digest_frames(path: Path) -> str:
    return digests.of_json([digests.of_file(file) for file in media.frame_files(path)])


MEDIA = {
    "imagefolder": Medium(measure=media.measure_image, read=_read_image, digest=digests.of_file, is_folder=False),
    "videofolder": Medium(measure=media.measure_clip, read=media.read_clip, digest=digests.of_file, is_folder=False),
    "frames": Medium(measure=media.measure_frames, read=media.read_frames, digest=_digest_frames, is_folder=True),
}


def rows(
    source: str, params: FolderParams, progress: Callable[[Sequence[Entry]], Iterable[Entry]]
) -> tuple[list[Row], list[Rejected]]:
    """Rows in the order of their names, and one Rejected per item that cannot be used."""
    root = Path(params.path)
    entries = metadata.read(root, params.caption)
    found: list[Row] = []
    rejected = [
        Rejected(source=source, locator=name, reason="no_caption", detail=f"{name}: {metadata.FILE} does not name it")
        for name in metadata.unnamed(root, entries, folders=MEDIA[params.kind].is_folder)
    ]
    for entry in progress(entries):
        try:
            found += _windows(source, params, entry)
        except media.Unusable as error:
            detail = str(error).replace(f"{root}/", "")  # tables hold no absolute paths
            rejected.append(Rejected(source=source, locator=entry.locator, reason=error.reason, detail=detail))
    return found, sorted(rejected, key=lambda entry: entry.locator)


def pixels(params: FolderParams, row: Row) -> np.ndarray:
    """Read, crop and resize a row: uint8 (frames, height, width, 3)."""
    path = Path(params.path) / row.locator
    raw = MEDIA[params.kind].read(path, row.start, row.frames, params.max_pixels)
    if raw.shape[1:3] != (row.source_height, row.source_width):
        sizes = f"{raw.shape[2]} x {raw.shape[1]} pixels, in the manifest {row.source_width} x {row.source_height}"
        raise media.Unusable("changed", f"{path}: {sizes}; run prepare again")
    return media.resize(raw, row.crop, row.height, row.width)


def _windows(source: str, params: FolderParams, entry: Entry) -> list[Row]:
    """One item to its rows; raises media.Unusable with the reason."""
    if not entry.caption.strip():
        raise media.Unusable("no_caption", f"{entry.locator}: its '{params.caption}' in {metadata.FILE} is empty")
    medium, path = MEDIA[params.kind], Path(params.path) / entry.locator
    extent = medium.measure(path, params.max_pixels)
    bucket = buckets.choose(params.buckets, extent, entry.locator)
    crop = buckets.crop(bucket, extent)
    content = medium.digest(path)
    frames, height, width = bucket
    starts = windows.starts(extent.frames, frames, params.window_stride if params.use_sliding_window else None)
    return [
        Row(
            id=manifest.identity(source, entry.locator, content, start, bucket, crop),
            source=source,
            item=entry.item or entry.locator,
            split=splits.of(entry.item or content, params.split),
            locator=entry.locator,
            content=content,
            start=start,
            frames=frames,
            height=height,
            width=width,
            source_width=extent.width,
            source_height=extent.height,
            source_frames=extent.frames,
            source_fps=extent.fps,
            crop=crop,
            caption=entry.caption.strip(),
            attributes=entry.attributes,
        )
        for start in starts
    ]
