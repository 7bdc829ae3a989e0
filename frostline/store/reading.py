"""One source's cache, opened: what is known of its rows in columns, their tensors read from where they lie."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from torch import Tensor

from frostline import files, records
from frostline.contract import LatentSpace
from frostline.manifest import SPLITS
from frostline.storage import Blocks
from frostline.store import keys, locations, payloads
from frostline.store.layout import CAPTIONS, ITEMS, LATENT, MANIFEST, PROMPTS, TEXT, Caption, Prompt, compute, schema
from frostline.store.parts import Parts, Reader, Stretch
from frostline.store.payloads import Payload
from frostline.store.texts import Texts


class _Items(NamedTuple):
    """A part of items, opened."""

    payload: Payload
    splits: np.ndarray
    counts: np.ndarray  # captions of each
    texts: np.ndarray  # of all captions
    weights: np.ndarray  # likewise
    digests: np.ndarray


class Latents:
    """One source's cache, opened: every part verified, rows in the manifest's order."""

    def __init__(self, folder: Path, blocks: Blocks | None = None) -> None:
        """Raises WrongUse if the folder is no cache, Refused if a part is missing, unlisted, changed or foreign.

        Rows of parts in an object store come by way of ``blocks`` if they are given.
        """
        self.folder = folder
        self.manifest = files.read_json(folder / MANIFEST)
        origin = str(folder / MANIFEST)
        self.space = records.parse(LatentSpace, self.manifest["latent_space"], origin=origin)
        self._place = locations.of(folder, self.manifest["parts"], blocks)
        self.texts = Texts(self._place, self._names(TEXT), self.space)
        self._items = self._names(ITEMS)
        self._reader = Reader()
        self._read_items()
        self._read_prompts()
        previews = self.manifest["prompts"]
        negative = self.manifest.get("negative", {})  # unsaid where it is the null prompt
        found = self.texts.numbers(keys.of_texts([*previews.values(), *negative.values()]), folder / MANIFEST).tolist()
        self._previews = dict(zip(previews, found[: len(previews)], strict=True))
        self._negative = dict(zip(negative, found[len(previews) :], strict=True))
        self.texts.forget_ids()
        pa.default_memory_pool().release_unused()

    def _names(self, kind: str) -> list[str]:
        return [part["name"] for part in self.manifest["parts"] if part["name"].startswith(f"{kind}/")]

    def _rows(self, kind: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        return [row for table in self._tables(self._names(kind), columns) for row in table.to_pylist()]

    def _tables(self, names: Sequence[str], columns: Sequence[str]) -> list[pa.Table]:
        return self._place.each(lambda name: payloads.columns(self._place.part(name), columns, self.space), names)

    def _read_items(self) -> None:
        """Open the latents, and keep of every row its split, texts, weights and digest."""
        found = self._place.each(self._opened, self._items)
        digests = [np.zeros((0, 2), np.uint64), *(one.digests for one in found)]
        self._parts = Parts([one.payload for one in found], np.concatenate(digests))
        splits = (one.splits for one in found)
        self.splits = np.concatenate([np.zeros(0, np.int8), *splits])  # places in manifest.SPLITS
        self._captions = np.cumsum(np.concatenate([[0], *(one.counts for one in found)]), dtype=np.int64)
        self._text_numbers = np.concatenate([np.zeros(0, np.int32), *(one.texts for one in found)])
        self._weights = np.concatenate([np.zeros(0), *(one.weights for one in found)])

    def _opened(self, name: str) -> "_Items":
        """Open a part of items."""
        part = self._place.part(name)
        facts = payloads.columns(part, ["split", "text_ids", "weights", "latent_digest"], self.space)
        runs = payloads.runs_of_latents(part, facts)
        return _Items(
            payload=payloads.open_payload(part, LATENT, self.space, runs, self._place.blocks),
            splits=_splits(facts),
            counts=payloads.numbers(compute.list_value_length(facts["text_ids"])),
            texts=self.texts.numbers(keys.of(compute.list_flatten(facts["text_ids"])), part),
            weights=payloads.numbers(compute.list_flatten(facts["weights"])),
            digests=runs.digests,
        )

    def _read_prompts(self) -> None:
        """Keep of every prompt without media its split and text."""
        splits, texts = [], []
        names = self._names(PROMPTS)
        for name, facts in zip(names, self._tables(names, ["split", "text_id"]), strict=True):
            splits.append(_splits(facts))
            texts.append(self.texts.numbers(keys.of(facts["text_id"]), self.folder / name))
        self.prompt_splits = np.concatenate([np.zeros(0, np.int8), *splits])  # places in manifest.SPLITS
        self._prompt_texts = np.concatenate([np.zeros(0, np.int32), *texts])

    @property
    def prompt_items(self) -> list[Prompt]:
        """All that is known of the prompts without media, read from the parts."""
        return [Prompt(**row) for row in self._rows(PROMPTS, schema(Prompt).names)]

    def __len__(self) -> int:
        return len(self._parts)

    def bucket(self, row: int) -> str:
        """Name of the bucket of a row."""
        return self._items[self._parts.part(row)].split("/")[1]

    def rows(self, bucket: str, split: str) -> np.ndarray:
        """Numbers of the rows of a bucket and split."""
        here = [
            np.arange(first, end)
            for name, first, end in zip(self._items, self._parts.first, self._parts.first[1:], strict=False)
            if name.split("/")[1] == bucket
        ]
        rows = np.concatenate([np.zeros(0, np.int64), *here])
        return rows[self.splits[rows] == SPLITS.index(split)]

    @property
    def buckets(self) -> list[str]:
        """Names of the buckets that have rows."""
        return list(dict.fromkeys(name.split("/")[1] for name in self._items))

    def weights(self, row: int) -> np.ndarray:
        """Of each caption of a row: how often a training chooses it, relative to the others."""
        return self._weights[self._captions[row] : self._captions[row + 1]]

    def column(self, name: str) -> list[Any]:
        """One column of all rows, read from the parts."""
        return [value for table in self._tables(self._items, [name]) for value in table[name].to_pylist()]

    def facts(self, *names: str) -> list[dict[str, Any]]:
        """Columns of all rows, as records of store.layout.Item name them, read from the parts."""
        return self._rows(ITEMS, names)

    def tensors(self, row: int) -> payloads.Tensors:
        """What the latent of a row is."""
        return self._parts.tensors(row)

    def stretch(self, row: int) -> Stretch:
        """Where the latent of a row lies."""
        return self._parts.stretch(row, 1, row)

    def raw(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """Raw latents float32 (n, C, T', H', W') of rows of one bucket."""
        data = self._reader.read([self.stretch(int(row)) for row in rows])
        return self.tensors(int(rows[0])).view(data.reshape(len(rows), -1)).float()

    def text_number(self, row: int, caption: int = 0) -> int:
        """Which of the source's texts one of a row's captions is."""
        return self._text_numbers.item(self._captions.item(row) + caption)

    def prompt_number(self, number: int) -> int:
        """Which of the source's texts a prompt without media is."""
        return int(self._prompt_texts[number])

    @functools.cached_property
    def captions(self) -> list[Caption]:
        """The captions of the source's texts by their numbers, read from the parts when first asked for."""
        names = [name.replace(TEXT, CAPTIONS, 1) for name in self._names(TEXT)]
        wanted = schema(Caption).names
        return [Caption(**row) for table in self._tables(names, wanted) for row in table.to_pylist()]

    @property
    def previews(self) -> dict[str, int]:
        """The preview prompts, and which of the source's texts they are."""
        return self._previews

    @property
    def negative(self) -> dict[str, int]:
        """What guidance steers away from, and which of the source's texts it is; none where it is the null prompt."""
        return self._negative


def _splits(facts: pa.Table) -> np.ndarray:
    """Of each row the place of its split in manifest.SPLITS, int8 (n,)."""
    splits = facts["split"].combine_chunks().dictionary_encode()
    places = np.array([SPLITS.index(name) for name in splits.dictionary.to_pylist()], np.int8)
    return places[payloads.numbers(splits.indices)]
