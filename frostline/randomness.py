"""All randomness is a pure function of a key such as (seed, step, row, purpose).

Nothing in Frostline uses or moves the global random state, so a validation, a preview or a log line
can never change a training, and a resumed run draws what the uninterrupted one would have drawn.
"""

import torch
from torch import Tensor

from frostline import digests


def seed(*key: int | str) -> int:
    """A 63-bit seed from a key of integers and words."""
    return int(digests.of_json(list(key))[:16], 16) >> 1


def generator(*key: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh generator for one key."""
    return torch.Generator(device=device).manual_seed(seed(*key))


def normal(shape: tuple[int, ...], *key: int | str) -> Tensor:
    """Standard normal float32 numbers of a shape, drawn on the CPU so that every device sees the same."""
    return torch.randn(shape, generator=generator(*key))


def normal_rows(rows: list[int], shape: tuple[int, ...], *key: int | str) -> Tensor:
    """Standard normal numbers (len(rows), *shape): each row ``normal`` of the key and its own number alone."""
    made, generator = torch.empty(len(rows), *shape), torch.Generator()
    for own, row in zip(made, rows, strict=True):
        torch.randn(shape, generator=generator.manual_seed(seed(*key, row)), out=own)
    return made


def uniform(*key: int | str) -> float:
    """One number in [0, 1) for one key."""
    return seed(*key) / (1 << 63)
