"""A cache of made-up latents and texts in the layout of the real ones, as large as a measurement needs.

Names:  IMAGES  rows of a Wan 1.3B training at 512 x 512: a latent of 128 KiB, and a caption of 60 tokens of 8 KiB
        MANY    rows as small as they come: latents of 512 bytes, and a caption of three tokens of 16 bytes each
Every row has a caption of its own; values are normal, so a network could be trained on them. The same number gives the
same row.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from frostline import dataset, digests, files
from frostline.contract import LatentSpace
from frostline.store import layout, writing
from frostline.store.layout import Caption, Item

NAME = "synthetic"
VALIDATION = 100  # of so many rows, one is held out
BANK = 1 << 22  # normal numbers that rows are cut from, each at its own place
STRIDE = 8191  # between the places of two rows; prime


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the rows of a cache are."""

    bucket: tuple[int, int, int]
    tokens: int  # of each caption
    text_dim: int
    text_length: int
    z_dim: int = 16
    spatial_stride: int = 8

    @property
    def space(self) -> LatentSpace:
        """A latent space of so many channels, stored in bfloat16, as are its texts."""
        return LatentSpace(
            vae_digest="a" * 32,
            z_dim=self.z_dim,
            latents_mean=tuple(n / 16 for n in range(self.z_dim)),
            latents_std=tuple(1 + n / 16 for n in range(self.z_dim)),
            spatial_stride=self.spatial_stride,
            temporal_stride=4,
            text_encoder_digest="b" * 32,
            text_dim=self.text_dim,
            text_length=self.text_length,
            text_stored_dtype="bfloat16",
        )


IMAGES = Kind(bucket=(1, 512, 512), tokens=60, text_dim=4096, text_length=512)
MANY = Kind(bucket=(1, 32, 32), tokens=3, text_dim=8, text_length=16)


def make(root: Path, kind: Kind, *, rows: int, part: int) -> tuple[Path, Path]:
    """The index and the folder of a cache of so many rows, ``part`` of them in a part; made if it is not there."""
    folder = root / f"cache-{layout.bucket_name(kind.bucket)}-{kind.tokens}x{kind.text_dim}-{rows}-{part}"
    if not folder.exists():
        with files.new_folder(folder) as beside:
            _write(beside / "latents" / NAME, kind, rows, part)
            files.write_json(beside / "latents.json", dataset.index(beside / "latents", [NAME]))
    return folder / "latents.json", folder / "latents"


def _write(folder: Path, kind: Kind, rows: int, part: int) -> None:
    bank = torch.randn(BANK, generator=torch.Generator().manual_seed(0))
    bucket = layout.bucket_name(kind.bucket)
    names: list[str] = []
    for number, first in enumerate(range(0, rows, part)):
        here, name = np.arange(first, min(first + part, rows)), f"{number:032x}.parquet"
        _write_texts(folder, name, kind, bank, np.concatenate([[-1], here]) if first == 0 else here)
        values = bank.to(layout.DTYPES[kind.space.stored_dtype])
        data = _cut(writing.bytes_of(values[:, None]), here, int(np.prod(kind.space.shape(kind.bucket))))
        path, digest = folder / "items" / bucket / name, writing.row_digests(data)
        writing.write_items(path, kind.space, kind.bucket, _items(here, kind), data, digest)
        names += [f"captions/{name}", f"items/{bucket}/{name}", f"text/{name}"]
    held_out = len(range(0, rows, VALIDATION))
    counts = {f"{bucket}/train": rows - held_out, f"{bucket}/validation": held_out}
    facts = {"rows": counts, "prompts": {}, "frozen_parameters": {"vae": 1, "text_encoder": 1}}
    writing.seal(folder, kind.space, sorted(names), facts, {})


def _write_texts(folder: Path, name: str, kind: Kind, bank: torch.Tensor, numbers: np.ndarray) -> None:
    """Captions of rows and their tokens; number -1 is the null prompt."""
    values = bank.to(layout.DTYPES[kind.space.text_stored_dtype])
    data = _cut(writing.bytes_of(values[:, None]), numbers + 1, kind.tokens * kind.text_dim)
    columns = {
        "text_id": [_id("text", number) for number in numbers.tolist()],
        "caption": [_caption(number) for number in numbers.tolist()],
        "tokens": [kind.tokens for _ in data],
        "text_digest": writing.row_digests(data),
    }
    facts = pa.table(columns, schema=layout.schema(Caption))
    writing.write_text(folder / "text" / name, kind.space, facts, data.reshape(len(data) * kind.tokens, -1))
    writing.write_captions(folder / "captions" / name, kind.space, facts)


def _cut(bank: np.ndarray, numbers: np.ndarray, values: int) -> np.ndarray:
    """For each number so many values of the bank (n, bytes of one), from a place of its own on: uint8 (rows, bytes)."""
    places = numbers * STRIDE % (len(bank) - values)
    cut = np.empty((len(numbers), values * bank.shape[1]), np.uint8)
    for row, place in zip(cut, places.tolist(), strict=True):
        row[:] = bank[place : place + values].reshape(-1)
    return cut


def _items(numbers: np.ndarray, kind: Kind) -> pa.Table:
    rows, same = numbers.tolist(), [1] * len(numbers)
    _, height, width = kind.bucket
    columns = {
        "id": [_id("row", row) for row in rows],
        "latent_id": [_id("latent", row) for row in rows],
        "item": [f"images/{row:09d}.jpg" for row in rows],
        "split": ["train" if row % VALIDATION else "validation" for row in rows],
        "start": [0 for _ in same],
        "source_width": [width for _ in same],
        "source_height": [height for _ in same],
        "source_frames": same,
        "source_fps": [0.0 for _ in same],
        "captions": [[_caption(row)] for row in rows],
        "weights": [[1.0] for _ in same],
        "attributes": ["{}" for _ in same],
        "text_ids": [[_id("text", row)] for row in rows],
        "text_lengths": [[kind.tokens] for _ in same],
    }
    return pa.table(columns, schema=layout.schema(Item))


def _id(kind: str, number: int) -> str:
    return digests.of_bytes(f"{kind} {number}".encode())


def _caption(number: int) -> str:
    return f"made-up picture number {number}" if number >= 0 else ""
