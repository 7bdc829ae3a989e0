"""The cache stage on media files beside the bare VAE on the same batches in memory: what decoding and writing add.

One thread computes in both. Texts are encoded before, apart from either. What the stage stores is what the VAE gave.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml

from benchmarks import Frame
from benchmarks.parts import in_turn, media_set, scanning, scratch
from benchmarks.parts.in_turn import Cost
from frostline import caching, manifest, params
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.manifest import Columns, Row
from frostline.params import CacheParams
from frostline.params.sources import SourceParams
from frostline.sources import preparing, reading
from frostline.sources.means import Means
from frostline.store import writing
from frostline.store.reading import Latents

SOURCE = "media"


class Work(NamedTuple):
    """Which media are encoded."""

    name: str
    bucket: tuple[int, int, int]
    images: int
    clips: int
    batch: int

    @property
    def media(self) -> int:
        """How many media there are; a row each."""
        return self.images + self.clips


IMAGES, CLIPS = Work("image", (1, 512, 512), 64, 0, 4), Work("clip", (17, 192, 256), 0, 12, 2)
QUICK = {IMAGES: Work("image", (1, 64, 64), 2, 0, 1), CLIPS: Work("clip", (5, 48, 64), 0, 2, 1)}
ROUNDS, QUICK_ROUNDS = 6, 1
STAGE, BARE = "stage", "vae"


def measure(frame: Frame) -> None:
    """Measure and record images and clips."""
    torch.set_num_threads(1)
    manifest.without_pandas()
    for work in (IMAGES, CLIPS):
        _measure(frame, QUICK[work] if frame.quick else work)


def _measure(frame: Frame, work: Work) -> None:
    with scratch.folder(frame) as folder:
        media = media_set.make(folder, work.images, work.clips, 1)
        settings, source = _settings(folder, media, work)
        rows = _rows(folder, source)
        assert len(rows) == work.media, f"{len(rows)} rows of {work.media} media"
        codec = Codec(settings.base)
        stage = _Stage(folder, source, rows, codec, settings.cache.model_copy(update={"encode_batch": work.batch}))
        bare = _Bare([reading.pixels(source, row) for row in rows.records()], work.batch, codec)
        ways = {STAGE: lambda _: stage(), BARE: lambda _: bare()}
        costs = in_turn.rounds(ways, QUICK_ROUNDS, warm=0) if frame.quick else in_turn.rounds(ways, ROUNDS)
        assert stage.digests() == bare.digests(), "the stage stores other latents than the VAE gives"
    _record(frame, work, costs)


def _record(frame: Frame, work: Work, costs: dict[str, list[Cost]]) -> None:
    found = in_turn.ratio(costs[STAGE], costs[BARE])
    stage, bare = (in_turn.mean(costs[name]).per(work.media) for name in (STAGE, BARE))
    frame.record(
        f"encode_overhead_{work.name}s",
        found.high - 1,
        0.05,
        "<=",
        unit="of the VAE",
        n=work.media,
        spread=f"ratio {found}",
        note=f"CPU seconds of caching.write_source over those of the VAE on the same batches of {work.batch}, "
        f"{'x'.join(map(str, work.bucket))}, the shipped miniature: {1 / stage.cpu:.3g} {work.name}s a CPU second "
        f"({1 / stage.wall:.3g} wall) against {1 / bare.cpu:.3g} ({1 / bare.wall:.3g})",
    )


class _Stage:
    """The cache stage from nothing, but for the texts."""

    def __init__(
        self, folder: Path, source: SourceParams, rows: Columns[Row], codec: Codec, settings: CacheParams
    ) -> None:
        self._folder, self._source, self._rows, self._codec, self._settings = folder, source, rows, codec, settings

    def __call__(self) -> Cost:
        shutil.rmtree(self._folder / "pool", ignore_errors=True)
        self._write(self._prompts())
        return in_turn.cost(lambda: self._write(self._rows))

    def _prompts(self) -> Columns[Row]:
        """The captions without their media."""
        rows = [dataclasses.replace(row, medium="prompt", frames=0) for row in self._rows.records()]
        return Columns.of(Row, rows)

    def _write(self, rows: Columns[Row]) -> None:
        pool = Pool(self._folder / "pool", self._codec.latent_space)
        caching.write_source(SOURCE, rows, self._pixels, self._codec, self._settings, pool, self._folder / "cache")

    def _pixels(self, row: Row) -> np.ndarray:
        return reading.pixels(self._source, row)

    def digests(self) -> list[str]:
        """Of all latents it stored."""
        return sorted(fact["latent_digest"] for fact in Latents(self._folder / "cache").facts("latent_digest"))


class _Bare:
    """The VAE on pixels in memory."""

    def __init__(self, pixels: Sequence[np.ndarray], batch: int, codec: Codec) -> None:
        stacked = torch.from_numpy(np.stack(pixels))
        self._batches, self._codec, self._raw = list(stacked.split(batch)), codec, list[torch.Tensor]()
        assert all(len(one) == batch for one in self._batches)

    def __call__(self) -> Cost:
        return in_turn.cost(self._encode)

    def _encode(self) -> None:
        self._raw = [self._codec.encode(batch) for batch in self._batches]

    def digests(self) -> list[str]:
        """Of all latents as they would be stored."""
        stored = (writing.latent_bytes(raw, self._codec.latent_space) for raw in self._raw)
        return sorted(digest for data in stored for digest in writing.row_digests(data))


def _settings(folder: Path, media: Path, work: Work) -> tuple[params.Params, SourceParams]:
    """The project's params with the media as their only source."""
    values = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    buckets = {"buckets": [list(work.bucket)], "filters": _NO_FILTERS, "max_rejected": 0.0}
    values["sources"] = {SOURCE: {**scanning.source(media), **buckets}}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    settings = params.load(folder / "params.yaml")
    return settings, settings.source(SOURCE)


_NO_FILTERS = {
    "minimum_side": 1,
    "minimum_seconds": 0.0,
    "minimum_motion": 0.0,
    "minimum_brightness": 0.0,
    "minimum_sharpness": 0.0,
    "caption_characters": [1, 1000],
    "duplicate_distance": 0,
    "keep_duplicates": True,
}


def _rows(folder: Path, source: SourceParams) -> Columns[Row]:
    parts, _ = preparing.columns(SOURCE, source, Means(work=folder / "work"))
    found = list(parts)
    whole = found[0]
    for part in found[1:]:
        whole = whole.with_others(part)
    return whole
