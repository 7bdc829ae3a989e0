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
from tests import neutral

Describe = Callable[[Sequence[dict[str, Any]]], Path]


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """Writes the folder's metadata.jsonl and returns the folder."""

    def write(lines: Sequence[dict[str, Any]]) -> Path:
        (tmp_path / "media").mkdir(exist_ok=True)
        (tmp_path / "media" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return tmp_path / "media"

    return write


def folder_params(path: Path, kind: str = "imagefolder", **changes: Any) -> FolderParams:
    """Params of a folder with a metadata.jsonl: one bucket of 32 x 32."""
    return records.parse(FolderParams, neutral.section(path, kind, **changes), origin="test")


def sidecar_params(path: Path, **changes: Any) -> SidecarParams:
    """Params of a folder of images and clips with captions in text files: buckets of 1 and 5 frames."""
    return records.parse(SidecarParams, neutral.section(path, "sidecar", **changes), origin="test")


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
