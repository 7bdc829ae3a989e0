"""All randomness is a pure function of a key such as (seed, step, row, purpose).

Nothing in Frostline uses or moves the global random state, so a validation, a preview or a log line
can never change a training, and a resumed run draws what the uninterrupted one would have drawn.
"""

from collections.abc import Iterable, Sequence

import torch
import xxhash
from torch import Tensor

from frostline import digests

SPARE = 128 - 63  # bits of a digest that a seed leaves out: the lower ones


def seed(*key: int | str) -> int:
    """A 63-bit seed from a key of integers and words."""
    return xxhash.xxh3_128_intdigest(digests.canonical(key).encode()) >> SPARE


def seeds(numbers: Iterable[int], *key: int | str) -> list[int]:
    """Of each number ``seed`` of the key and that number: what they share is put into words once."""
    shared = digests.canonical(key)[:-1] + ("," if key else "")
    return [xxhash.xxh3_128_intdigest(f"{shared}{number}]".encode()) >> SPARE for number in numbers]


def generator(*key: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh generator for one key."""
    return torch.Generator(device=device).manual_seed(seed(*key))


def normal(shape: tuple[int, ...], *key: int | str) -> Tensor:
    """Standard normal float32 numbers of a shape, drawn on the CPU so that every device sees the same."""
    return torch.randn(shape, generator=generator(*key))


def normal_rows(rows: Sequence[int], shape: tuple[int, ...], *key: int | str) -> Tensor:
    """Standard normal numbers (len(rows), *shape): each row ``normal`` of the key and its own number alone."""
    made, generator = torch.empty(len(rows), *shape), torch.Generator()
    for own, start in zip(made.unbind(), seeds(rows, *key), strict=True):
        own.normal_(generator=generator.manual_seed(start))
    return made


def uniform(*key: int | str) -> float:
    """One number in [0, 1) for one key."""
    return seed(*key) / (1 << 63)


def uniforms(numbers: Iterable[int], *key: int | str) -> list[float]:
    """Of each number ``uniform`` of the key and that number."""
    return [start / (1 << 63) for start in seeds(numbers, *key)]
