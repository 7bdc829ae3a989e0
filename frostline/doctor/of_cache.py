"""The checks of cached latents, with the base that made them where it is there."""

from collections.abc import Iterator

import torch
from torch import Tensor

from frostline import codec as codecs
from frostline.checks import latent_stats
from frostline.codec import Codec
from frostline.dataset import Dataset
from frostline.doctor import cached, rows
from frostline.doctor.case import Check, Given, Seen
from frostline.doctor.rows import Cache, Rows
from frostline.findings import Finding
from frostline.manifest import SPLITS

EVERY = ("train", "validation", "test")


def checks(cache: Cache, given: Given, seen: Seen) -> Iterator[tuple[str, Check]]:
    """Checks by identifier, each to be made when its turn comes."""
    many = cache.rows(given.size.statistics, splits=EVERY)
    yield "D35", lambda: cached.empty(many.raw)
    yield "D08", lambda: _statistics(many, seen)
    data = cache.dataset
    if data is not None:
        yield "D13", lambda: cached.texts(*_captions(data, cache.rows(256, splits=EVERY)))
        yield "D22", lambda: _splits(cache, data, 4 * given.size.statistics)
    if given.base is None:
        return
    base = codecs.latent_space(given.base)
    yield "D11", lambda: _identity(cache, given, base.vae_digest)
    if base.z_dim != many.clean.shape[1]:
        return
    codec = Codec(given.base)
    yield "D09", lambda: cached.cycle(codec, many.first(8))
    yield "D12", lambda: cached.causal(codec)


def _statistics(many: Rows, seen: Seen) -> Finding:
    seen.channels = latent_stats.channel_stats(many.clean)
    return cached.statistics(many.clean)


def _captions(data: Dataset, shown: Rows) -> tuple[list[str], Tensor]:
    """Distinct captions of a cache with their embeddings; the null prompt first."""
    facts = [row["captions"][0] for source in data.sources for row in source.facts("captions")]
    text = data.batch(shown.numbers).text
    found: dict[str, Tensor] = {"": data.null()[0]}
    for number, embedding in zip(shown.numbers, text, strict=True):
        found.setdefault(facts[number], embedding)
    return list(found), torch.stack(list(found.values()))


def _splits(cache: Cache, data: Dataset, count: int) -> Finding:
    """Items of all rows by split, latents of so many of the smallest size."""
    smallest = rows.smallest(data)
    there = [split for split in SPLITS if any(len(source.rows(smallest, split)) for source in data.sources)]
    latents = {split: cache.rows(count, splits=(split,), bucket=smallest).clean.flatten(1) for split in there}
    return cached.splits(cached.items_by_split(data), latents)


def _identity(cache: Cache, given: Given, digest: str) -> Finding:
    """The first of cache and model that speaks of another VAE than the base's."""
    contract = given.subject.contract if given.subject else None
    spaces = {f"the cache {cache.origin}": cache.space}
    if given.subject is not None and contract is not None:
        spaces[f"the model {given.subject.name}"] = contract.latent_space
    other = {name: space.vae_digest for name, space in spaces.items() if space and space.vae_digest != digest}
    name, found = next(iter(other.items()), (cache.origin, digest))
    return cached.identity(found, digest, cache=name, base=str(given.base))
