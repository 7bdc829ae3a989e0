"""A VAE and a text encoder that cost next to nothing, and rows for them: what is left of the time is the cache's own.

Every row is another picture with a caption of its own. Rows lie in groups of a thousand, as media lie in folders.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import xxhash
from torch import Tensor

from frostline.codec import Codec, Part
from frostline.contract import LatentSpace
from frostline.manifest import Columns, Row
from frostline.params import CacheParams

CHANNELS, STRIDE, TEXT_DIM, WORDS = 16, 8, 32, 4096
GROUP = 1000
SPACE = LatentSpace(
    vae_digest="5" * 32,
    z_dim=CHANNELS,
    latents_mean=(0.0,) * CHANNELS,
    latents_std=(1.0,) * CHANNELS,
    spatial_stride=STRIDE,
    temporal_stride=4,
    text_encoder_digest="7" * 32,
    text_dim=TEXT_DIM,
    text_length=16,
)
PARAMS = CacheParams(
    encode_batch=32,
    text_batch=32,
    most_pixels=1 << 20,
    device="cpu",
    threads=1,
    encode_dtype="float32",
    stored_dtype="bfloat16",
    preview_prompts=("a preview",),
)


class Synthetic(Codec):
    """A codec whose latents are the first bytes of the pixels, and whose words are rows of a table."""

    def __init__(self) -> None:
        self.base, self.device, self.latent_space = Path("synthetic"), "cpu", SPACE
        self._table = torch.randn(WORDS, TEXT_DIM, generator=torch.Generator().manual_seed(0))

    def encode(self, pixels: Tensor, tiled: object = None) -> Tensor:  # noqa: ARG002 - as every codec
        """Pixels uint8 (B, T, H, W, 3) -> (B, C, T', H', W')."""
        shape = self.latent_space.shape(pixels.shape[1:4])
        return pixels.reshape(len(pixels), -1)[:, : int(np.prod(shape))].reshape(-1, *shape).float()

    def encode_text(self, texts: Sequence[str]) -> list[Tensor]:
        """A token a word, and one at the end."""
        words = [[0, *(xxhash.xxh32_intdigest(word.encode()) % WORDS for word in text.split())] for text in texts]
        return [self._table[rows] for rows in words]

    def release(self, part: Part) -> None:
        """Nothing is held."""

    def parameters_of(self, part: Part) -> int:  # noqa: ARG002 - as every codec
        """Nothing is learned."""
        return 0


def names(count: int) -> list[str]:
    """Names of so many rows: ``0012/000345.png``."""
    return [f"{number // GROUP:04d}/{number:07d}.png" for number in range(count)]


def rows(names: Sequence[str], height: int, width: int) -> Columns[Row]:
    """Images of these names."""
    schema = Columns.of(Row, []).table.schema
    ids = [xxhash.xxh3_128_hexdigest(name.encode()) for name in names]
    each = {"id": ids, "content": ids, "item": names, "locator": names, "file": names}
    lists = {
        "captions": [[f"a picture named {name}"] for name in names],
        "weights": [[1.0]] * len(names),
        "crop": [[0, 0, width, height]] * len(names),
        "time_base": [[0, 1]] * len(names),
    }
    one = {"source": "synthetic", "split": "train", "medium": "image", "flip": False, "attributes": "{}", "frames": 1}
    one |= {"offset": 0, "size": 1, "start": 0, "source_frames": 1, "source_fps": 0.0}
    one |= {"height": height, "width": width, "source_height": height, "source_width": width}
    values = {**each, **lists}
    arrays = [
        pa.array(values[field.name] if field.name in values else [one.get(field.name, [])] * len(names), field.type)
        for field in schema
    ]
    return Columns(Row, pa.Table.from_arrays(arrays, schema=schema))


class Pictures:
    """What rows show: places in one field of noise."""

    def __init__(self) -> None:
        self._noise = np.random.default_rng(0).integers(0, 256, 1 << 24, dtype=np.uint8)

    def __call__(self, row: Row) -> np.ndarray:
        """Pixels uint8 (1, H, W, 3)."""
        size = row.height * row.width * 3
        start = int(row.content[:12], 16) % (len(self._noise) - size)
        return self._noise[start : start + size].reshape(1, row.height, row.width, 3)
