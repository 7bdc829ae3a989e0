"""Small folders of real media."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline import media, records
from frostline.manifest import Rejected, Row
from frostline.params.sources import AnyMediaParams, FolderParams, SidecarParams
from frostline.sources import preparing

Describe = Callable[[Sequence[dict[str, Any]]], Path]
CLIPS = {
    "fps": None,
    "scene_cuts": None,
    "use_sliding_window": False,
    "window_stride": 1,
    "window_choice": "first",
    "windows_per_scene": 1,
    "max_frames": 1000,
}
FILTERS = {
    "minimum_side": 0,
    "minimum_seconds": 0.0,
    "minimum_motion": 0.0,
    "minimum_brightness": 0.0,
    "minimum_sharpness": 0.0,
    "caption_characters": [0, 1000],
    "duplicate_distance": 0,
    "keep_duplicates": True,
}


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """Writes the folder's metadata.jsonl and returns the folder."""

    def write(lines: Sequence[dict[str, Any]]) -> Path:
        (tmp_path / "media").mkdir(exist_ok=True)
        (tmp_path / "media" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return tmp_path / "media"

    return write


def media_values(path: Path, **changes: Any) -> dict[str, Any]:
    """Params of a source of media: everything in train, no filter, nothing may be left out.

    ``clips``, ``crop``, ``filters`` change single keys of theirs.
    """
    values: dict[str, Any] = {
        "path": str(path),
        "buckets": [[1, 32, 32], [5, 32, 32]],
        "captioner": None,
        "split": {"seed": 0, "validation": 0.0, "test": 0.0},
        "max_pixels": 1_000_000,
        "max_rejected": 0.0,
    } | changes
    nested = {"clips": CLIPS, "crop": {"place": "centre", "seed": 0, "flip": False}, "filters": FILTERS}
    return values | {name: plain | changes.get(name, {}) for name, plain in nested.items()}


def folder_params(path: Path, kind: str = "imagefolder", **changes: Any) -> FolderParams:
    """Params of a folder with a metadata.jsonl: one bucket of 32 x 32."""
    values = {"kind": kind, "caption": "text", "buckets": [[1 if kind == "imagefolder" else 5, 32, 32]]}
    return records.parse(FolderParams, media_values(path, **(values | changes)), origin="test")


def sidecar_params(path: Path, **changes: Any) -> SidecarParams:
    """Params of a folder of images and clips with captions in text files: buckets of 1 and 5 frames."""
    values = {"kind": "sidecar", "extension": ".txt", "lines": "one_caption"}
    return records.parse(SidecarParams, media_values(path, **(values | changes)), origin="test")


def read(settings: AnyMediaParams, work: Path, **means: Any) -> tuple[list[Row], list[Rejected]]:
    """All rows of a source named "s", and what was left out."""
    rows, rejected = preparing.rows("s", settings, preparing.Means(work=work, **means))
    return list(rows), list(rejected)


def noise(frames: int, height: int = 40, width: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (frames, height, width, 3), np.uint8)


def image(path: Path, seed: int = 0, height: int = 40, width: int = 48) -> np.ndarray:
    pixels = noise(1, height, width, seed)
    media.write_png(path, pixels[0])
    return pixels


def clip(path: Path, frames: int, seed: int = 0, fps: float = 16) -> np.ndarray:
    pixels = noise(frames, seed=seed)
    media.write_lossless_mp4(path, pixels, fps)
    return pixels
