"""Params of a source, and small trees of files: a listing opens no media, so any bytes do."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline import records
from frostline.params.sources import SourceParams
from frostline.sources import listing
from frostline.sources.entries import Entry, Listing

COMMON: dict[str, Any] = {
    "buckets": [[5, 32, 32]],
    "clips": {
        "fps": None,
        "scene_cuts": None,
        "use_sliding_window": False,
        "window_stride": 1,
        "window_choice": "first",
        "windows_per_scene": 1,
        "max_frames": 100,
    },
    "crop": {"place": "centre", "seed": 0, "flip": False},
    "filters": {
        "minimum_side": 0,
        "minimum_seconds": 0.0,
        "minimum_motion": 0.0,
        "minimum_brightness": 0.0,
        "minimum_sharpness": 0.0,
        "caption_characters": [0, 1000],
        "duplicate_distance": 0,
        "keep_duplicates": True,
    },
    "captioner": None,
    "split": {"seed": 0, "validation": 0.0, "test": 0.0},
    "max_pixels": 1_000_000,
    "max_rejected": 0.0,
}
KINDS: dict[str, dict[str, Any]] = {
    "imagefolder": {"caption": "text", "buckets": [[1, 32, 32]]},
    "videofolder": {"caption": "text"},
    "frames": {"caption": "text"},
    "sidecar": {"extension": ".txt", "lines": "one_caption"},
    "table": {"media": "path", "captions": ["caption"], "item": None},
    "webdataset": {"caption": "txt"},
    "fastvideo": {"media": "videos"},
}


class AnySource(records.Record):
    """Any kind of media, as params.yaml has it."""

    source: SourceParams


def media_params(path: Path | str, kind: str, **changes: Any) -> Any:
    """Params of a source of media."""
    values = {"kind": kind, "path": str(path), **COMMON, **KINDS[kind], **changes}
    return records.parse(AnySource, {"source": values}, origin="test").source


def read(path: Path | str, kind: str, **changes: Any) -> Listing:
    """What is at the path, by one convention."""
    return listing.read("s", media_params(path, kind, **changes))


def write(root: Path, tree: Mapping[str, str | bytes]) -> Path:
    """Files below a folder, by name."""
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def lines(values: Sequence[Mapping[str, Any]]) -> str:
    """The text of a metadata.jsonl."""
    return "".join(json.dumps(value) + "\n" for value in values)


def texts(entry: Entry) -> list[str]:
    """The captions of an entry."""
    return [caption.text for caption in entry.captions]


def by_name(found: Listing) -> dict[str, list[str]]:
    """Captions by locator."""
    return {entry.locator: texts(entry) for entry in found.entries}


def reasons(found: Listing) -> dict[str, str]:
    """Why what was left out, by locator."""
    assert len({entry.locator for entry in found.rejected}) == len(found.rejected)
    return {entry.locator: entry.reason for entry in found.rejected}
