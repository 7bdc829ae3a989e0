"""Sources as prepare leaves them, made up: manifests with their contact sheets."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frostline import digests, manifest, media
from frostline.manifest import Rejected, Row
from tests import neutral

WICKED = '<script>alert(1)</script> & "quotes" {{ page.title }}'


def row(number: int, **changed: Any) -> Row:
    """A row of an image of 64 x 48 pixels that is cropped to a square."""
    facts: dict[str, Any] = {
        "id": digests.of_json([number]),
        "source": "mine",
        "item": f"item-{number}",
        "split": "train",
        "locator": f"pictures/{number}.png",
        "medium": "image",
        "file": f"pictures/{number}.png",
        "offset": 0,
        "size": 9,
        "content": digests.of_json(["content", number]),
        "start": 0,
        "shown": (),
        "pts": (),
        "time_base": (0, 1),
        "flip": False,
        "frames": 1,
        "height": 32,
        "width": 32,
        "source_width": 64,
        "source_height": 48,
        "source_frames": 1,
        "source_fps": 0.0,
        "crop": (8, 0, 56, 48),
        "captions": (f"picture of number {number}",),
        "weights": (1.0,),
        "attributes": "{}",
    }
    return Row(**{**facts, **changed})


def clip(number: int, **changed: Any) -> Row:
    """A row of a clip of two seconds."""
    facts = {"medium": "clip", "locator": f"clips/{number}.mp4", "frames": 5, "source_frames": 48, "source_fps": 24.0}
    return row(number, **{**facts, "shown": (0, 1, 3, 4, 6), "crop": (0, 0, 64, 48), **changed})


def rejected(locator: str, reason: str, detail: str) -> Rejected:
    """A thing that was left out."""
    return Rejected(source="mine", locator=locator, reason=reason, detail=detail)


def splits(rows: Sequence[Row]) -> list[Row]:
    """The rows with the last two held out."""
    held = ["validation", "test"]
    ends = [dataclasses.replace(one, split=split) for one, split in zip(rows[-2:], held, strict=True)]
    return [*rows[:-2], *ends]


def write(root: Path, name: str, rows: Sequence[Row], rejected: Sequence[Rejected] = (), **sheet: Any) -> None:
    """A manifest and a sheet that shows every row, under manifest/ and sheets/."""
    rows = [dataclasses.replace(one, source=name) for one in rows]
    left_out = [dataclasses.replace(one, source=name) for one in rejected]
    manifest.write(root / "manifest" / name, rows, left_out)
    folder = root / "sheets" / name
    media.write_png(folder / "one.jpg", np.full((24, 32, 3), 99, np.uint8))
    media.write_png(folder / "three.jpg", np.full((24, 96, 3), 99, np.uint8))
    facts = {
        "source": name,
        "histograms": {"source_pixels": [["64x48", len(rows)]]},
        "rows": [_example(one) for one in reversed(rows)],
        "rejected": [{**dataclasses.asdict(one), **_picture(1)} for one in left_out],
    }
    (folder / "sheets.json").write_text(json.dumps({**facts, **sheet}))


def _example(one: Row) -> dict[str, Any]:
    if one.medium == "prompt":
        return {"id": one.id, "picture": None, "tile": None, "tiles": 0}
    return {"id": one.id, **_picture(1 if one.frames == 1 else 3)}


def _picture(tiles: int) -> dict[str, Any]:
    return {"picture": "one.jpg" if tiles == 1 else "three.jpg", "tile": [32, 24], "tiles": tiles}


def source() -> dict[str, Any]:
    """A source of params.yaml: a folder of pictures and clips with their captions beside them."""
    split = {"seed": 0, "validation": 0.1, "test": 0.1}
    return neutral.section("media", "sidecar", clips={"fps": 16.0}, split=split, max_rejected=0.5)
