"""Latents that a network is asked about: from a cache made here, or from a file of tensors.

Legend
    raw     as the VAE gives them                         (N, C, T, H, W)
    clean   normalised once, what a network should see    (N, C, T, H, W)
    text    embeddings of the rows' captions              (N, L, D), zeros after each true length
    null    embedding of the null prompt                  (1, L, D)
"""

import contextlib
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from frostline import dataset, files, latents, weights
from frostline.contract import LatentSpace
from frostline.dataset import Dataset
from frostline.errors import WrongUse
from frostline.store.layout import MANIFEST, bucket_of
from frostline.wan import families

SPLITS = ("validation", "test", "train")  # rows the network was not taught on come first


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows of one size, with their texts where there are any."""

    origin: str
    raw: Tensor
    clean: Tensor
    text: Tensor | None
    null: Tensor | None
    numbers: tuple[int, ...] = ()  # in their dataset

    def first(self, count: int) -> "Rows":
        """At most so many of them."""
        text = None if self.text is None else self.text[:count]
        return Rows(
            origin=self.origin,
            raw=self.raw[:count],
            clean=self.clean[:count],
            text=text,
            null=self.null,
            numbers=self.numbers[:count],
        )

    def __len__(self) -> int:
        return len(self.clean)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cache:
    """Latents that were given: rows of a dataset, or of a file that holds nothing else."""

    origin: str
    space: LatentSpace | None
    dataset: Dataset | None
    alone: Rows | None = None

    def rows(self, count: int, *, splits: tuple[str, ...] = SPLITS, bucket: str | None = None) -> Rows:
        """So many rows of the smallest size, or of a bucket, of the first of these splits that has any."""
        if self.alone is not None:
            return self.alone.first(count)
        if self.dataset is None:
            raise WrongUse(f"{self.origin}: holds no rows")
        named = bucket or smallest(self.dataset)
        for split in splits:
            found = _spread(self.dataset, named, split, count)
            if found:
                return _read(self.dataset, found, f"{self.origin}, {split} rows of {named}")
        raise WrongUse(f"{self.origin}: bucket {named} has no rows of {' or '.join(splits)}")


def smallest(data: Dataset) -> str:
    """The bucket of the fewest pixels."""
    return min(data.buckets, key=lambda name: math.prod(bucket_of(name)))


def _spread(data: Dataset, bucket: str, split: str, count: int) -> list[int]:
    """Rows spread over all of a split; none if it has none."""
    pairs = zip(data.sources, _firsts(data), strict=True)
    every = [int(n) for source, first in pairs for n in first + source.rows(bucket, split)]
    return every[:: max(1, len(every) // count)][:count]


def _firsts(data: Dataset) -> list[int]:
    firsts, total = [], 0
    for source in data.sources:
        firsts.append(total)
        total += len(source)
    return firsts


def _read(data: Dataset, numbers: list[int], origin: str) -> Rows:
    batch = data.batch(numbers)
    return Rows(
        origin=origin,
        raw=data.raw(numbers),
        clean=batch.clean,
        text=batch.text,
        null=data.null(),
        numbers=tuple(numbers),
    )


@contextlib.contextmanager
def opened(place: Path) -> Iterator[Cache]:
    """The latents at a place: a cache's folder, a folder of caches, or a .safetensors file of ``latents``, ``text``.

    Raises WrongUse if it is none of them, Refused if a cache is damaged.
    """
    if place.is_file() and place.suffix == weights.SAFETENSORS:
        yield _of_file(place)
    elif (place / MANIFEST).is_file():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / place.name).symlink_to(place.absolute(), target_is_directory=True)
            yield _of_caches(Path(folder), str(place))
    elif place.is_dir() and any(place.glob(f"*/{MANIFEST}")):
        yield _of_caches(place, str(place))
    else:
        raise WrongUse(f"{place}: neither a cache, nor a folder of caches, nor a {weights.SAFETENSORS} file of latents")


def is_cache(place: Path) -> bool:
    """Whether a folder is a cache, or holds caches."""
    return any("latent_space" in json.loads(file.read_text()) for file in _manifests(place))


def _manifests(place: Path) -> list[Path]:
    own = place / MANIFEST
    return [own] if own.is_file() else sorted(place.glob(f"*/{MANIFEST}"))


def _of_caches(folder: Path, origin: str) -> Cache:
    names = sorted(file.parent.name for file in folder.glob(f"*/{MANIFEST}"))
    with tempfile.TemporaryDirectory() as beside:
        index = Path(beside) / "latents.json"
        files.write_json(index, dataset.index(folder, names))
        data = Dataset(index, folder)
    return Cache(origin=origin, space=data.space, dataset=data)


def _of_file(place: Path) -> Cache:
    """Normalised latents, unless the file holds ``raw``; what is missing of the two is made by Wan's statistics."""
    with weights.opened(place) as tensors:
        names = set(weights.kinds(place))
        found = {name: tensors.read(name).float() for name in names & {"latents", "raw", "text", "null"}}
    if not {"latents", "raw"} & found.keys():
        raise WrongUse(f"{place}: holds {sorted(names)[:8]}; `latents` (N, C, T, H, W), or `raw`, is asked for")
    given = found["latents" if "latents" in found else "raw"]
    if given.ndim != 5:
        raise WrongUse(f"{place}: latents of shape {tuple(given.shape)}; (N, C, T, H, W) is asked for")
    raw, clean = _both(found, given)
    text = found.get("text")
    rows = Rows(origin=str(place), raw=raw, clean=clean, text=text, null=found.get("null"))
    return Cache(origin=str(place), space=None, dataset=None, alone=rows)


def _both(found: dict[str, Tensor], given: Tensor) -> tuple[Tensor, Tensor]:
    known = {vae.z_dim: vae for vae in (families.VAE_21, families.VAE_22)}.get(given.shape[1])
    if "latents" in found and ("raw" in found or known is None):
        return found.get("raw", given), given
    if known is None:
        mean, std = latents_statistics(given)
    else:
        mean, std = torch.tensor(known.latents_mean), torch.tensor(known.latents_std)
    mean, std = mean.view(1, -1, 1, 1, 1), std.view(1, -1, 1, 1, 1)
    if "latents" in found:
        return found["latents"] * std + mean, found["latents"]
    return found["raw"], (found["raw"] - mean) / std


def latents_statistics(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (C,) of each channel."""
    flat = raw.transpose(0, 1).flatten(1)
    return flat.mean(1), flat.std(1)


def of_tensors(raw: Tensor, text: Tensor | None, null: Tensor | None, space: LatentSpace, origin: str) -> Rows:
    """Rows of raw latents in a known space."""
    return Rows(origin=origin, raw=raw, clean=latents.normalise(raw, space), text=text, null=null)
