"""All caches of a project as one set of rows: the index that ties them together, and reading across them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frostline import contract as contracts
from frostline import digests, files, latents, records, store
from frostline.contract import LatentSpace
from frostline.errors import Refused, WrongUse

REMEDY = "all sources of one training are cached with the same base: set `base` in params.yaml and run `dvc repro`"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of one bucket, ready for a network."""

    rows: tuple[int, ...]
    clean: Tensor  # latents (B, C, T, H, W)
    text: Tensor  # (B, L, D), zeros after the true length; the null prompt where dropped
    dropped: Tensor  # bool (B,)


def index(folder: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """What ``data/latents.json`` says of the caches of the named sources below a folder.

    Raises WrongUse for no sources and for a folder that no source names, Refused if their latent spaces differ.
    """
    root = Path(folder)
    if not names or not root.is_dir():
        raise WrongUse(f"{root}: no source is cached; name one under `sources` in params.yaml and run `dvc repro`")
    unknown = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name not in names)
    if unknown:
        raise WrongUse(
            f"{root}: holds {unknown}, which no source in params.yaml names; remove the folder or add the source"
        )
    manifests = {name: files.read_json(root / name / store.MANIFEST) for name in sorted(names)}
    spaces = {name: _space(manifest, root / name) for name, manifest in manifests.items()}
    first = next(iter(spaces))
    for name, space in spaces.items():
        contracts.require_same(spaces[first], space, ours_is=f"cache {first}", theirs_is=f"cache {name}", remedy=REMEDY)
    sources = {
        name: {"manifest": digests.of_file(root / name / store.MANIFEST), "rows": manifest["rows"]}
        for name, manifest in manifests.items()
    }
    facts = {
        "latent_space": spaces[first].model_dump(mode="json"),
        "frozen_parameters": manifests[first]["frozen_parameters"],
        "sources": sources,
    }
    return {**facts, "digest": digests.of_json(facts)}


def _space(manifest: Mapping[str, Any], origin: Path) -> LatentSpace:
    return records.parse(LatentSpace, manifest["latent_space"], origin=str(origin / store.MANIFEST))


class Dataset:
    """Rows of all sources, numbered through in the order of the sources' names."""

    def __init__(self, index: str | Path, folder: str | Path) -> None:
        """Open what ``data/latents.json`` lists below ``data/latents``.

        Raises WrongUse if a file is absent, Refused if a cache is not the one that was indexed.
        """
        facts = files.read_json(index)
        self.digest: str = facts["digest"]
        self.space = records.parse(LatentSpace, facts["latent_space"], origin=str(index))
        self.frozen_parameters: dict[str, int] = facts["frozen_parameters"]
        self.sources = [
            _open(Path(folder) / name, facts["sources"][name], self.space) for name in sorted(facts["sources"])
        ]
        self._places = [(source, row) for source in self.sources for row in range(len(source))]
        self.items = [item for source in self.sources for item in source.items]
        self.buckets = [bucket for source in self.sources for bucket in source.buckets]
        self._prompt_places = [(source, n) for source in self.sources for n in range(len(source.prompt_items))]
        self.prompt_items = [prompt for source in self.sources for prompt in source.prompt_items]

    def rows(self, bucket: str, split: str) -> list[int]:
        """Row numbers of one bucket and split; raises WrongUse if there are none."""
        pairs = enumerate(zip(self.items, self.buckets, strict=True))
        found = [row for row, (item, name) in pairs if name == bucket and item.split == split]
        if not found:
            have = sorted(set(self.buckets))
            raise WrongUse(f"bucket {bucket}, split {split}: the cache has no rows; its buckets are {have}")
        return found

    def batch(
        self, rows: Sequence[int], dropped: Sequence[bool] | None = None, captions: Sequence[int] | None = None
    ) -> Batch:
        """Read rows of one bucket, each with its first caption or with the one of ``captions``, counted from 0.

        Captions of dropped rows are replaced by the null prompt's embedding.
        """
        drop = list(dropped) if dropped is not None else [False] * len(rows)
        chosen = list(captions) if captions is not None else [0] * len(rows)
        places = [self._places[row] for row in rows]
        texts = [
            source.null() if gone else source.text(row, caption)
            for (source, row), gone, caption in zip(places, drop, chosen, strict=True)
        ]
        return Batch(
            rows=tuple(rows),
            clean=latents.normalise(self.raw(rows), self.space),
            text=latents.pad(texts, self.space.text_length),
            dropped=torch.tensor(drop),
        )

    def prompt_rows(self, split: str) -> list[int]:
        """Numbers of the prompts without media of one split, in ``prompt_items``; raises WrongUse if there are none."""
        found = [row for row, prompt in enumerate(self.prompt_items) if prompt.split == split]
        if not found:
            raise WrongUse(
                f"split {split}: no source has prompts without media; add one of kind 'prompts' to `sources`"
            )
        return found

    def prompt_texts(self, rows: Sequence[int]) -> Tensor:
        """Embeddings (B, L, D) of prompts without media."""
        places = [self._prompt_places[row] for row in rows]
        return latents.pad([source.prompt_text(place) for source, place in places], self.space.text_length)

    def raw(self, rows: Sequence[int]) -> Tensor:
        """Raw latents float32 (B, C, T, H, W) of rows of one bucket."""
        return torch.cat([source.raw([row]) for source, row in (self._places[row] for row in rows)])

    def null(self) -> Tensor:
        """The null prompt's embedding (1, L, D)."""
        return latents.pad([self.sources[0].null()], self.space.text_length)

    def prompts(self) -> dict[str, Tensor]:
        """The preview prompts and their embeddings (1, L, D)."""
        texts = self.sources[0].prompts()
        return {prompt: latents.pad([text], self.space.text_length) for prompt, text in texts.items()}


def _open(folder: Path, facts: Mapping[str, Any], space: LatentSpace) -> store.Latents:
    theirs = _space(files.read_json(folder / store.MANIFEST), folder)
    contracts.require_same(space, theirs, ours_is="the index", theirs_is=str(folder), remedy=REMEDY)
    if digests.of_file(folder / store.MANIFEST) != facts["manifest"]:
        raise Refused(f"{folder}: its manifest is not the one that was indexed; run `dvc repro index`")
    return store.Latents(folder)
