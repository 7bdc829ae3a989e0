"""Sections of params.yaml that do as little to media as they can, so that a test says only what it is about."""

from pathlib import Path
from typing import Any

CLIPS: dict[str, Any] = {
    "fps": None,
    "scene_cuts": None,
    "use_sliding_window": False,
    "window_stride": 1,
    "window_choice": "first",
    "windows_per_scene": 1,
    "max_frames": 1000,
}
CROP: dict[str, Any] = {"place": "centre", "seed": 0, "flip": False}
FILTERS: dict[str, Any] = {
    "minimum_side": 0,
    "minimum_seconds": 0.0,
    "minimum_motion": 0.0,
    "minimum_brightness": 0.0,
    "minimum_sharpness": 0.0,
    "caption_characters": [0, 1000],
    "duplicate_distance": 0,
    "keep_duplicates": True,
}
SPLIT: dict[str, Any] = {"seed": 0, "validation": 0.0, "test": 0.0}
IMAGE, CLIP = [1, 32, 32], [5, 32, 32]
KINDS: dict[str, dict[str, Any]] = {
    "imagefolder": {"caption": "text", "buckets": [IMAGE]},
    "videofolder": {"caption": "text", "buckets": [CLIP]},
    "frames": {"caption": "text", "buckets": [CLIP]},
    "sidecar": {"extension": ".txt", "lines": "one_caption"},
    "table": {"media": "path", "captions": ["caption"], "item": None},
    "webdataset": {"caption": "txt"},
    "fastvideo": {"media": "videos"},
}


def section(path: Path | str, kind: str, **changes: Any) -> dict[str, Any]:
    """A source of media, as params.yaml has it: everything in train, no filter, and nothing may be left out.

    Of ``clips``, ``crop`` and ``filters`` the keys that are given change; of all else the whole value.
    """
    values: dict[str, Any] = {
        "kind": kind,
        "path": str(path),
        "buckets": [IMAGE, CLIP],
        "captioner": None,
        "split": SPLIT,
        "max_pixels": 1_000_000,
        "max_rejected": 0.0,
    }
    plain = {"clips": CLIPS, "crop": CROP, "filters": FILTERS}
    return values | KINDS[kind] | changes | {name: keys | changes.get(name, {}) for name, keys in plain.items()}
