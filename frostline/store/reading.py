"""One source's cache, opened: what is known of its rows in columns, their tensors read from where they lie."""

import functools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from frostline import digests, files, records
from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.manifest import SPLITS
from frostline.store import payloads
from frostline.store.layout import ITEMS, LATENT, MANIFEST, PROMPTS, REMEDY, TEXT, Prompt, compute, schema
from frostline.store.parts import Parts
from frostline.store.texts import Texts

DIGESTING = 4  # files at once
SAMPLED = 64  # of so many latents read, one is compared with its digest


class Latents:
    """One source's cache, opened: every part verified, rows in the manifest's order."""

    def __init__(self, folder: Path) -> None:
        """Raises WrongUse if the folder is no cache, Refused if a part is missing, unlisted, changed or foreign."""
        self.folder = folder
        self.manifest = files.read_json(folder / MANIFEST)
        origin = str(folder / MANIFEST)
        self.space = records.parse(LatentSpace, self.manifest["latent_space"], origin=origin)
        verify(folder, self.manifest["parts"])
        self.texts = Texts(folder, self._names(TEXT), self.space)
        self._items = self._names(ITEMS)
        self._parts = Parts([payloads.open_payload(folder / name, LATENT, self.space) for name in self._items])
        self._read_facts()
        self.prompt_items = [Prompt(**row) for row in self._rows(PROMPTS, schema(Prompt).names)]
        self._prompt_texts = self._numbers([prompt.text_id for prompt in self.prompt_items])
        self._previews = dict(
            zip(self.manifest["prompts"], self._numbers(self.manifest["prompts"].values()), strict=True)
        )
        self.texts.forget_ids()
        self._reads = 0

    def _names(self, kind: str) -> list[str]:
        return [part["name"] for part in self.manifest["parts"] if part["name"].startswith(f"{kind}/")]

    def _rows(self, kind: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        tables = (payloads.columns(self.folder / name, columns, self.space) for name in self._names(kind))
        return [row for table in tables for row in table.to_pylist()]

    def _numbers(self, ids: Iterable[str]) -> list[int]:
        return self.texts.numbers(pa.array(list(ids), pa.string()), self.folder / MANIFEST).tolist()

    def _read_facts(self) -> None:
        """Keep of every row its split, texts and weights."""
        splits, counts, texts, weights = [], [], [], []
        for name in self._items:
            path = self.folder / name
            facts = payloads.columns(path, ["split", "text_ids", "weights"], self.space).combine_chunks()
            splits.append(compute.index_in(facts["split"], pa.array(SPLITS)).to_numpy().astype(np.int8))
            counts.append(compute.list_value_length(facts["text_ids"]).to_numpy())
            texts.append(self.texts.numbers(compute.list_flatten(facts["text_ids"]), path).astype(np.int32))
            weights.append(compute.list_flatten(facts["weights"]).to_numpy().astype(np.float64))
        self.splits = np.concatenate([np.zeros(0, np.int8), *splits])  # places in manifest.SPLITS
        self._captions = np.cumsum(np.concatenate([[0], *counts]), dtype=np.int64)
        self._text_numbers = np.concatenate([np.zeros(0, np.int32), *texts])
        self._weights = np.concatenate([np.zeros(0), *weights])

    def __len__(self) -> int:
        return len(self._parts)

    def bucket(self, row: int) -> str:
        """Name of the bucket of a row."""
        return self._items[self._parts.place(row)[0]].split("/")[1]

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

    def facts(self, *names: str) -> list[dict[str, Any]]:
        """Columns of all rows, as records of store.layout.Item name them, read from the parts."""
        return self._rows(ITEMS, names)

    def tensors(self, row: int) -> payloads.Tensors:
        """What the latent of a row is."""
        return self._parts.payloads[self._parts.place(row)[0]].tensors

    def read_into(self, data: np.ndarray, row: int) -> None:
        """Fill uint8 (1, width) with a raw latent; raises Refused if it is one of those compared and differs."""
        part, place = self._parts.place(row)
        self._parts.payloads[part].read_into(data, place)
        self._reads += 1
        if self._reads % SAMPLED == 0:
            self.require_digest(row, data)

    def require_digest(self, row: int, data: np.ndarray) -> None:
        """Raise Refused unless uint8 (1, width) is what the digest of a row says."""
        part, place = self._parts.place(row)
        if digests.of_bytes(data.data) != self._digests(part)[place].as_py():
            raise Refused(f"{self.folder / self._items[part]}: row {place} is not what its digest says; {REMEDY}")

    def expect(self, row: int, caption: int = 0) -> None:
        """Say that a row will be read soon, with one of its captions."""
        self._parts.expect(row)
        self.texts.expect(self.text_number(row, caption))

    def raw(self, rows: Iterable[int]) -> Tensor:
        """Raw latents float32 (n, C, T', H', W') of rows of one bucket."""
        wanted = list(rows)
        tensors = self.tensors(wanted[0])
        data = np.empty((len(wanted), tensors.width), np.uint8)
        for number, row in enumerate(wanted):
            self.read_into(data[number : number + 1], row)
        return tensors.view(data).float()

    def text_number(self, row: int, caption: int = 0) -> int:
        """Which of the source's texts one of a row's captions is."""
        return int(self._text_numbers[self._captions[row] + caption])

    def prompt_number(self, number: int) -> int:
        """Which of the source's texts a prompt without media is."""
        return self._prompt_texts[number]

    @property
    def previews(self) -> dict[str, int]:
        """The preview prompts, and which of the source's texts they are."""
        return self._previews

    @functools.lru_cache(maxsize=8)  # noqa: B019 - as long as the source is open
    def _digests(self, part: int) -> Any:
        return payloads.columns(self.folder / self._items[part], ["latent_digest"], self.space)["latent_digest"]


def verify(folder: Path, parts: Sequence[dict[str, Any]]) -> None:
    """Raise Refused unless a folder holds exactly these parts, with these digests."""
    listed = {part["name"] for part in parts}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    if listed != present:
        raise Refused(f"{folder}: missing {sorted(listed - present)}, unlisted {sorted(present - listed)}; {REMEDY}")
    with ThreadPoolExecutor(DIGESTING) as pool:
        found = pool.map(digests.of_file, (folder / part["name"] for part in parts))
        for part, digest in zip(parts, found, strict=True):
            if digest != part["digest"]:
                name, listed_digest = folder / part["name"], part["digest"]
                raise Refused(f"{name}: digest {digest} is not the manifest's {listed_digest}; {REMEDY}")
