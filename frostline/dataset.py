"""All caches of a project as one set of rows: the index that ties them together, and reading across them."""

import bisect
import functools
import math
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from frostline import contract as contracts
from frostline import digests, files, latents, records
from frostline.contract import LatentSpace
from frostline.errors import Refused, WrongUse
from frostline.manifest import SPLITS
from frostline.params.stores import StoreParams
from frostline.records import Record
from frostline.storage import Blocks
from frostline.store import locations, parts
from frostline.store.layout import DTYPES, MANIFEST, Prompt
from frostline.store.parts import Reader, Stretch
from frostline.store.payloads import Tensors
from frostline.store.reading import Latents

MAPPED = 1 << 20  # bytes; so large a piece of memory is worth asking the system for
NULL = 0  # the number of the null prompt among the texts of every source
REMEDY = "all sources of one training are cached with the same base: set `base` in params.yaml and run `dvc repro`"


class Trajectories(Record):
    """What a teacher was seen to do, where the rows of a dataset are that: from noise to its clean end."""

    teacher_digest: str  # of its weights
    dataset_digest: str  # whose captions it was asked for
    sigmas: tuple[float, ...]  # of the points of a row, falling from 1 to 0
    shift: float  # of which they are equal steps
    guidance: tuple[float, ...]  # of the teacher's network, or of its two experts
    guidance_interval: tuple[float, float]
    solver_steps: int


class Outline(NamedTuple):
    """Which rows of one bucket were read, and how their bytes lie."""

    rows: tuple[int, ...]
    dropped: tuple[bool, ...]
    lengths: tuple[int, ...]  # tokens of each text
    tensors: Tensors  # what a latent is


class Stored(NamedTuple):
    """Rows as they are stored: for a picture and its caption a small part of what a network sees of them."""

    outline: Outline
    data: memoryview  # the tokens of all texts one after another, then the latents likewise
    waited: int  # latents and texts for which the disk had to be waited for, as far as can be told


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of one bucket, ready for a network."""

    rows: tuple[int, ...]
    clean: Tensor  # latents (B, C, T, H, W); of trajectories all their points (B, K + 1, C, T, H, W)
    text: Tensor  # float32 (B, L, D), zeros after the true length; the null prompt where dropped
    dropped: Tensor  # bool (B,)

    def to(self, device: torch.device) -> "Batch":
        """The same rows on a device."""
        return self._with(self.rows, *(tensor.to(device) for tensor in self._tensors))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one latent (C, T, H, W)."""
        return tuple(self.clean.shape[-4:])

    def parts(self, count: int) -> "list[Batch]":
        """The rows in so many parts, one after another; as many in each."""
        if count == 1:
            return [self]
        size = len(self.rows) // count
        cuts = [slice(start, start + size) for start in range(0, len(self.rows), size)]
        return [self._with(self.rows[cut], *(tensor[cut] for tensor in self._tensors)) for cut in cuts]

    @property
    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.clean, self.text, self.dropped

    @staticmethod
    def _with(rows: tuple[int, ...], clean: Tensor, text: Tensor, dropped: Tensor) -> "Batch":
        return Batch(rows=rows, clean=clean, text=text, dropped=dropped)


def index(folder: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """What ``data/latents.json`` says of the caches of the named sources below a folder.

    Raises WrongUse for no sources and for a folder that no source names, Refused if their latent spaces or negative
    prompts differ.
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
    _require_one_negative(manifests)
    sources = {
        name: {"manifest": digests.of_file(root / name / MANIFEST), "rows": manifest["rows"]}
        for name, manifest in manifests.items()
    }
    followed = _trajectories(manifests)
    facts = {
        "latent_space": spaces[first].model_dump(mode="json"),
        "frozen_parameters": manifests[first]["frozen_parameters"],
        "sources": sources,
        **({} if followed is None else {"trajectories": followed}),
    }
    return {**facts, "digest": digests.of_json(facts)}


def _require_one_negative(manifests: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise Refused if guidance would steer away from one prompt in one source, and from another in the next."""
    found = {name: list(manifest.get("negative", ())) for name, manifest in manifests.items()}
    first = next(iter(found))
    for name, negative in found.items():
        if negative != found[first]:
            raise Refused(
                f"cache {first} and cache {name} hold other negative prompts, {found[first]} and {negative}: run "
                "`dvc repro`, which gives all of them cache.negative_prompt of params.yaml"
            )


def _trajectories(manifests: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What the rows of all sources are points of, if they are; Refused if not of all."""
    found = [manifest.get("trajectories") for manifest in manifests.values()]
    if any(one != found[0] for one in found):
        raise Refused(
            f"caches {sorted(manifests)}: some hold latents and some trajectories, or those of other teachers"
        )
    return found[0]


def _space(manifest: Mapping[str, Any], origin: Path) -> LatentSpace:
    return records.parse(LatentSpace, manifest["latent_space"], origin=str(origin / MANIFEST))


class Dataset:
    """Rows of all sources, numbered through in the order of the sources' names."""

    def __init__(self, index: str | Path, folder: str | Path, store: StoreParams | None = None) -> None:
        """Open what ``data/latents.json`` lists below ``data/latents``.

        Of caches in an object store, what is read is kept on the disk as ``store`` says, if all of them find room
        there: rows in random order of more than that are read faster one by one.

        Raises WrongUse if a file is absent, Refused if a cache is not the one that was indexed.
        """
        facts = files.read_json(index)
        self.digest: str = facts["digest"]
        self.space = records.parse(LatentSpace, facts["latent_space"], origin=str(index))
        self.frozen_parameters: dict[str, int] = facts["frozen_parameters"]
        self.trajectories = _followed(facts, index)
        folders = {name: Path(folder) / name for name in sorted(facts["sources"])}
        far = [path for path in folders.values() if locations.address_of(path)]
        blocks = _blocks(far, store) if store and far else None
        self.sources = [_open(path, facts["sources"][name], self.space, blocks) for name, path in folders.items()]
        self._reader = Reader()
        self._first = np.cumsum([0, *map(len, self.sources)]).tolist()
        self._text_dtype = DTYPES[self.space.text_stored_dtype]
        self._token = self.space.text_dim * self._text_dtype.itemsize  # bytes
        self._first_prompt = np.cumsum([0, *(len(source.prompt_splits) for source in self.sources)]).tolist()

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
        source, number = self.place(row)
        return source.bucket(number)

    def weights(self, row: int) -> np.ndarray:
        """Of each caption of a row: how often a training chooses it, relative to the others."""
        source, number = self.place(row)
        return source.weights(number)

    def ids(self, column: Literal["id", "latent_id"]) -> list[str]:
        """The ids of all rows, read from the parts: those of the manifest, or those of their latents."""
        return [name for source in self.sources for name in source.column(column)]

    def batch(
        self, rows: Sequence[int], dropped: Sequence[bool] | None = None, captions: Sequence[int] | None = None
    ) -> Batch:
        """Rows of one bucket, each with its first caption or with the one of ``captions``, counted from 0.

        Captions of dropped rows are replaced by the null prompt's embedding.
        """
        return self.finish(self.read(rows, dropped, captions))

    def read(
        self,
        rows: Sequence[int],
        dropped: Sequence[bool] | None = None,
        captions: Sequence[int] | None = None,
        room: memoryview | None = None,
    ) -> Stored:
        """The bytes of a batch: all that has to do with files; at the beginning of ``room`` if it is given.

        Raises WrongUse for rows of several buckets, Refused as store.parts.Reader does.
        """
        drop = dropped if dropped is not None else [False] * len(rows)
        chosen = captions if captions is not None else [0] * len(rows)
        texts, found, lengths, size = [], [], [], 0
        for row, gone, caption in zip(rows, drop, chosen, strict=True):
            source, number = self.place(row)
            text = source.texts.stretch(NULL if gone else source.text_number(number, caption))
            latent = source.stretch(number)
            texts.append(text)
            found.append(latent)
            lengths.append(text[0] // self._token)
            size += text[0] + latent[0]
        outline = Outline(tuple(map(int, rows)), tuple(drop), tuple(lengths), _tensors(found))
        data = np.empty(size, np.uint8).data if room is None else room[:size]
        return Stored(outline, data, self._reader.fill(data, texts + found))

    def most(self, rows: Sequence[int]) -> int:
        """How many bytes so many rows of the bucket of these take at most."""
        longest = max(int(source.texts.lengths.max()) for source in self.sources)
        source, number = self.place(rows[0])
        return len(rows) * (longest * self._token + source.tensors(number).width)

    def finish(self, stored: Stored) -> Batch:
        """What a network sees of the bytes of a batch: latents normalised, texts padded; it shares no memory with them.

        Points of trajectories are normalised as they are stored.
        """
        outline = stored.outline
        tokens, raw = self._cut(torch.frombuffer(stored.data, dtype=torch.uint8), outline.lengths)
        shaped = raw.view(outline.tensors.dtype).view(len(raw), *outline.tensors.shape)
        return Batch(
            rows=outline.rows,
            clean=self._seen(shaped),
            text=self._padded(tokens, outline.lengths),
            dropped=torch.tensor(outline.dropped),
        )

    def _seen(self, stored: Tensor) -> Tensor:
        """Latents as a network sees them, float32, of those that are stored."""
        made = torch.empty(stored.shape)
        if self.trajectories is None:
            latents.normalise_into(made, stored, self.space)
        else:
            made.copy_(stored)
        return made

    def _cut(self, data: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The data of Stored as tokens (n, bytes of one) and latents (B, bytes of one)."""
        end = sum(lengths) * self._token
        return data[:end].view(-1, self._token), data[end:].view(len(lengths), -1)

    def expect(self, rows: Sequence[int], captions: Sequence[int]) -> None:
        """Say that rows will be read soon, each with one of its captions, so that the disk can begin.

        That costs about a sixth of reading them from the page cache, so it is worth saying where they are not there.
        """
        for (source, number), caption in zip(map(self.place, rows), captions, strict=True):
            parts.expect([source.stretch(number), source.texts.stretch(source.text_number(number, caption))])

    @functools.cached_property
    def prompt_items(self) -> list[Prompt]:
        """The prompts without media of all sources, read from the parts when first asked for."""
        return [prompt for source in self.sources for prompt in source.prompt_items]

    def prompt_rows(self, split: str) -> list[int]:
        """Numbers of the prompts without media of one split, in ``prompt_items``; raises WrongUse if there are none."""
        splits = np.concatenate([source.prompt_splits for source in self.sources])
        found = np.flatnonzero(splits == SPLITS.index(split)).tolist()
        if not found:
            raise WrongUse(
                f"split {split}: no source has prompts without media; add one of kind 'prompts' to `sources`"
            )
        return found

    def prompt_texts(self, rows: Sequence[int]) -> Tensor:
        """Embeddings (B, L, D) of prompts without media."""
        return self.embeddings([self.prompt_text(row) for row in rows])

    def prompt_text(self, row: int) -> tuple[Latents, int]:
        """The source of a prompt without media, and the number of its text there."""
        place = bisect.bisect_right(self._first_prompt, row) - 1
        source = self.sources[place]
        return source, source.prompt_number(row - self._first_prompt[place])

    def raw(self, rows: Sequence[int]) -> Tensor:
        """Raw latents float32 (B, C, T, H, W) of rows of one bucket."""
        found = [source.stretch(number) for source, number in map(self.place, rows)]
        return _tensors(found).view(self._reader.read(found).reshape(len(rows), -1)).float()

    @property
    def origin(self) -> str:
        """The digest of the latents this is about: its own, or those whose captions its trajectories were made of."""
        return self.digest if self.trajectories is None else self.trajectories.dataset_digest

    def null(self) -> Tensor:
        """The null prompt's embedding (1, L, D)."""
        return self.embeddings([(self.sources[0], NULL)])

    @property
    def negative_prompt(self) -> str | None:
        """What guidance steers away from; None for the null prompt."""
        return next(iter(self.sources[0].negative), None)

    def negative(self) -> Tensor:
        """The embedding (1, L, D) of what guidance steers away from."""
        source = self.sources[0]
        return self.embeddings([(source, number) for number in source.negative.values() or (NULL,)])

    def prompts(self) -> dict[str, Tensor]:
        """The preview prompts and their embeddings (1, L, D)."""
        source = self.sources[0]
        return {prompt: self.embeddings([(source, number)]) for prompt, number in source.previews.items()}

    def place(self, row: int) -> tuple[Latents, int]:
        """The source of a row, and its number there."""
        source = bisect.bisect_right(self._first, row) - 1
        return self.sources[source], row - self._first[source]

    def embeddings(self, wanted: Sequence[tuple[Latents, int]]) -> Tensor:
        """Texts (B, L, D) by their sources and numbers there, zeros after each true length."""
        found = [source.texts.stretch(number) for source, number in wanted]
        tokens = torch.from_numpy(self._reader.read(found)).view(-1, self._token)
        return self._padded(tokens, [size // self._token for size, *_ in found])

    def _padded(self, tokens: Tensor, lengths: Sequence[int]) -> Tensor:
        """Tokens uint8 (n, bytes of one) of texts one after another -> float32 (B, L, D)."""
        longest = self.space.text_length
        padded = _zeros((len(lengths), longest, self.space.text_dim))
        cuts = [cut for length in lengths for cut in (length, longest - length)]
        texts = padded.view(-1, self.space.text_dim).split(cuts)[::2]
        torch._foreach_copy_(texts, tokens.view(self._text_dtype).split(list(lengths)))
        return padded


def _followed(facts: Mapping[str, Any], index: str | Path) -> Trajectories | None:
    stated = facts.get("trajectories")
    return None if stated is None else records.parse(Trajectories, stated, origin=str(index))


def _tensors(found: Sequence[Stretch]) -> Tensors:
    """What each of some latents is; raises WrongUse if they are of several buckets, which no batch holds."""
    width, _, _, parts, row, _ = found[0]
    for size, *_ in found:
        if size != width:
            raise WrongUse("rows of several buckets, and a batch is of one: ask for them apart")
    return parts.tensors(row)


def _zeros(shape: Sequence[int]) -> Tensor:
    """Zeros as the system gives memory, where torch would write them: padding that nobody touches costs nothing."""
    size = math.prod(shape) * torch.float32.itemsize
    if size < MAPPED:
        return torch.zeros(*shape)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.float32).view(*shape)


def _blocks(folders: Sequence[Path], store: StoreParams) -> Blocks | None:
    """Where rows of the caches in these folders are kept, if all of them find room there."""
    size = sum(part["bytes"] for folder in folders for part in files.read_json(folder / MANIFEST)["parts"])
    return Blocks(Path(store.blocks), store.bound) if size <= store.bound else None


def _open(folder: Path, facts: Mapping[str, Any], space: LatentSpace, blocks: Blocks | None) -> Latents:
    theirs = _space(files.read_json(folder / MANIFEST), folder)
    contracts.require_same(space, theirs, ours_is="the index", theirs_is=str(folder), remedy=REMEDY)
    if digests.of_file(folder / MANIFEST) != facts["manifest"]:
        raise Refused(f"{folder}: its manifest is not the one that was indexed; run `dvc repro index`")
    return Latents(folder, blocks)
