"""Small folders of real media."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline import media, params, records

Describe = Callable[[Sequence[dict[str, Any]]], Path]


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """Writes the folder's metadata.jsonl and returns the folder."""

    def write(lines: Sequence[dict[str, Any]]) -> Path:
        (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return tmp_path

    return write


def folder_params(path: Path, kind: str = "imagefolder", **changes: Any) -> params.FolderParams:
    """Params of a folder source: one bucket of 32 x 32, everything in train, nothing may be left out."""
    values = {
        "kind": kind,
        "path": str(path),
        "caption": "text",
        "buckets": [[1 if kind == "imagefolder" else 5, 32, 32]],
        "use_sliding_window": False,
        "window_stride": 1,
        "split": {"seed": 0, "validation": 0.0, "test": 0.0},
        "max_pixels": 1_000_000,
        "max_rejected": 0.0,
    }
    return records.parse(params.FolderParams, values | changes, origin="test")


def noise(frames: int, height: int = 40, width: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (frames, height, width, 3), np.uint8)


def image(path: Path, seed: int = 0, height: int = 40, width: int = 48) -> np.ndarray:
    pixels = noise(1, height, width, seed)
    media.write_png(path, pixels[0])
    return pixels


def clip(path: Path, frames: int, seed: int = 0) -> np.ndarray:
    pixels = noise(frames, seed=seed)
    media.write_lossless_mp4(path, pixels, 16)
    return pixels
