"""All caches of a project as one set of rows: the index that ties them together, and reading across them."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from frostline import contract as contracts
from frostline import digests, files, latents, records
from frostline.contract import LatentSpace
from frostline.errors import Refused, WrongUse
from frostline.store.layout import MANIFEST
from frostline.store.reading import Latents

NULL = 0  # the number of the null prompt among the texts of every source
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
    manifests = {name: files.read_json(root / name / MANIFEST) for name in sorted(names)}
    spaces = {name: _space(manifest, root / name) for name, manifest in manifests.items()}
    first = next(iter(spaces))
    for name, space in spaces.items():
        contracts.require_same(spaces[first], space, ours_is=f"cache {first}", theirs_is=f"cache {name}", remedy=REMEDY)
    sources = {
        name: {"manifest": digests.of_file(root / name / MANIFEST), "rows": manifest["rows"]}
        for name, manifest in manifests.items()
    }
    facts = {
        "latent_space": spaces[first].model_dump(mode="json"),
        "frozen_parameters": manifests[first]["frozen_parameters"],
        "sources": sources,
    }
    return {**facts, "digest": digests.of_json(facts)}


def _space(manifest: Mapping[str, Any], origin: Path) -> LatentSpace:
    return records.parse(LatentSpace, manifest["latent_space"], origin=str(origin / MANIFEST))


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
        self._first = np.cumsum([0, *map(len, self.sources)]).tolist()
        self._prompt_places = [(source, n) for source in self.sources for n in range(len(source.prompt_items))]
        self.prompt_items = [prompt for source in self.sources for prompt in source.prompt_items]

    def __len__(self) -> int:
        return self._first[-1]

    @property
    def buckets(self) -> list[str]:
        """Names of the buckets that have rows, each once."""
        return sorted({bucket for source in self.sources for bucket in source.buckets})

    def rows(self, bucket: str, split: str) -> np.ndarray:
        """Row numbers of one bucket and split; raises WrongUse if there are none."""
        pairs = zip(self._first, self.sources, strict=False)
        found = np.concatenate([first + source.rows(bucket, split) for first, source in pairs])
        if not len(found):
            raise WrongUse(f"bucket {bucket}, split {split}: the cache has no rows; its buckets are {self.buckets}")
        return found

    def bucket(self, row: int) -> str:
        """Name of the bucket of a row."""
        source, number = self._place(row)
        return source.bucket(number)

    def weights(self, row: int) -> np.ndarray:
        """Of each caption of a row: how often a training chooses it, relative to the others."""
        source, number = self._place(row)
        return source.weights(number)

    def ids(self, column: Literal["id", "latent_id"]) -> list[str]:
        """The ids of all rows, read from the parts: those of the manifest, or those of their latents."""
        return [fact[column] for source in self.sources for fact in source.facts(column)]

    def batch(
        self, rows: Sequence[int], dropped: Sequence[bool] | None = None, captions: Sequence[int] | None = None
    ) -> Batch:
        """Read rows of one bucket, each with its first caption or with the one of ``captions``, counted from 0.

        Captions of dropped rows are replaced by the null prompt's embedding.
        """
        drop = list(dropped) if dropped is not None else [False] * len(rows)
        chosen = list(captions) if captions is not None else [0] * len(rows)
        texts = [
            (source, NULL if gone else source.text_number(number, caption))
            for (source, number), gone, caption in zip(map(self._place, rows), drop, chosen, strict=True)
        ]
        return Batch(
            rows=tuple(map(int, rows)),
            clean=latents.normalise(self.raw(rows), self.space),
            text=self._texts(texts),
            dropped=torch.tensor(drop),
        )

    def expect(self, rows: Sequence[int], captions: Sequence[int]) -> None:
        """Say that rows will be read soon, each with one of its captions, so that the disk can begin."""
        for (source, number), caption in zip(map(self._place, rows), captions, strict=True):
            source.expect(number, caption)

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
        return self._texts([(source, source.prompt_number(number)) for source, number in places])

    def raw(self, rows: Sequence[int]) -> Tensor:
        """Raw latents float32 (B, C, T, H, W) of rows of one bucket."""
        places = [self._place(row) for row in rows]
        tensors = places[0][0].tensors(places[0][1])
        data = np.empty((len(places), tensors.width), np.uint8)
        for number, (source, row) in enumerate(places):
            source.read_into(data[number : number + 1], row)
        return tensors.view(data).float()

    def null(self) -> Tensor:
        """The null prompt's embedding (1, L, D)."""
        return self._texts([(self.sources[0], NULL)])

    def prompts(self) -> dict[str, Tensor]:
        """The preview prompts and their embeddings (1, L, D)."""
        source = self.sources[0]
        return {prompt: self._texts([(source, number)]) for prompt, number in source.previews.items()}

    def _place(self, row: int) -> tuple[Latents, int]:
        source = bisect.bisect_right(self._first, row) - 1
        return self.sources[source], int(row) - self._first[source]

    def _texts(self, wanted: Sequence[tuple[Latents, int]]) -> Tensor:
        """Texts (B, L, D), zeros after each true length."""
        padded = torch.zeros(len(wanted), self.space.text_length, self.space.text_dim)
        data = padded.view(torch.uint8).numpy()
        for number, (source, text) in enumerate(wanted):
            source.texts.read_into(data[number], text)
        return padded


def _open(folder: Path, facts: Mapping[str, Any], space: LatentSpace) -> Latents:
    theirs = _space(files.read_json(folder / MANIFEST), folder)
    contracts.require_same(space, theirs, ours_is="the index", theirs_is=str(folder), remedy=REMEDY)
    if digests.of_file(folder / MANIFEST) != facts["manifest"]:
        raise Refused(f"{folder}: its manifest is not the one that was indexed; run `dvc repro index`")
    return Latents(folder)
