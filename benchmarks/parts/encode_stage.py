"""The cache stage on media files, and what of it the VAE takes: all that decoding, resizing, digesting and writing add.

Everything the process does counts, but for the texts, which are encoded before. Two threads of the stage run beside the
VAE and one computes in it, so its share is taken in its own thread while the stage runs: the machine's speed varies by
more than a stage adds, and both lie under the same. The VAE alone on the same batches in memory, in turn with the
stage, is told as well: were the stage in the VAE's way, it would show there. What the stage stores is what that gave.

Names:  miniature  the VAE that ships with the project: .7 million parameters, a picture of 512 x 512 in .2 s
        wan        one of Wan2.1's size, 127 million, with random weights: no time depends on what weights say
"""

import dataclasses
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from diffusers import AutoencoderKLWan

from benchmarks import Frame
from benchmarks.parts import in_turn, media_set, scanning, scratch
from benchmarks.parts.in_turn import Cost
from frostline import caching, manifest, params, tiling
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.manifest import Columns, Row
from frostline.params import CacheParams
from frostline.params.sources import SourceParams
from frostline.sources import preparing, reading
from frostline.sources.means import Means
from frostline.store import writing
from frostline.store.reading import Latents
from frostline.tiling import Tiling

SOURCE = "media"


class Work(NamedTuple):
    """Which media are encoded."""

    name: str
    bucket: tuple[int, int, int]
    images: int
    clips: int
    batch: int
    rounds: int
    base_dim: int | None  # channels of a VAE of Wan2.1's build; None: the miniature

    @property
    def media(self) -> int:
        """How many media there are; a row each."""
        return self.images + self.clips


Works = tuple[Work, ...]
MINIATURE: Works = (
    Work("image", (1, 512, 512), 64, 0, 4, 6, None),
    Work("clip", (17, 192, 256), 0, 24, 2, 6, None),
)
WAN: Works = (  # all of its published config but the channels is the default of diffusers' class
    Work("wan_image", (1, 256, 256), 4, 0, 2, 3, 96),
    Work("wan_clip", (9, 96, 128), 0, 2, 1, 3, 96),
)
QUICK: dict[Works, Works] = {
    MINIATURE: (Work("image", (1, 64, 64), 2, 0, 1, 1, None), Work("clip", (5, 48, 64), 0, 2, 1, 1, None)),
    WAN: (Work("wan_image", (1, 64, 64), 1, 0, 1, 1, 4), Work("wan_clip", (5, 48, 64), 0, 1, 1, 1, 4)),
}
STAGE, BARE = "stage", "vae"


def measure(frame: Frame, works: Works) -> None:
    """Measure and record images and clips with one VAE: MINIATURE or WAN."""
    torch.set_num_threads(1)
    manifest.without_pandas()
    for work in QUICK[works] if frame.quick else works:
        _measure(frame, work)


def _measure(frame: Frame, work: Work) -> None:
    with scratch.folder(frame) as folder:
        media = media_set.make(folder, work.images, work.clips, 1)
        settings, source = _settings(folder, media, work)
        rows = _rows(folder, source)
        assert len(rows) == work.media, f"{len(rows)} rows of {work.media} media"
        codec = _Timed(_base(folder, Path(settings.base), work))
        stage = _Stage(folder, source, rows, codec, settings.cache.model_copy(update={"encode_batch": work.batch}))
        bare = _Bare([reading.pixels(source, row) for row in rows.records()], work.batch, codec)
        ways = {STAGE: lambda _: stage(), BARE: lambda _: bare()}
        costs = in_turn.rounds(ways, work.rounds, warm=0 if work.base_dim else 1)
        assert stage.digests() == bare.digests(), "the stage stores other latents than the VAE gives"
    _record(frame, work, costs, stage.inside[-work.rounds :])


def _record(frame: Frame, work: Work, costs: dict[str, list[Cost]], inside: list[Cost]) -> None:
    found, beside = in_turn.ratio(costs[STAGE], inside), in_turn.ratio(costs[STAGE], costs[BARE])
    stage, bare = (in_turn.mean(costs[name]).per(work.media) for name in (STAGE, BARE))
    vae, what = "Wan2.1's VAE" if work.base_dim else "the shipped miniature", work.name.removeprefix("wan_")
    frame.record(
        f"encode_overhead_{work.name}s",
        found.high - 1,
        0.05,
        "<=",
        unit="of the VAE",
        n=work.media,
        spread=f"ratio {found}",
        note=f"CPU seconds of caching.write_source over those of the VAE in it, less one; {vae}, batches of "
        f"{work.batch}, {'x'.join(map(str, work.bucket))}. In turn with the VAE alone on the same batches: "
        f"{1 / stage.cpu:.3g} {what}s a CPU second ({1 / stage.wall:.3g} wall) against {1 / bare.cpu:.3g} "
        f"({1 / bare.wall:.3g}), ratio {beside}",
    )


def _base(folder: Path, shipped: Path, work: Work) -> Path:
    """The base with the VAE that is asked for."""
    if work.base_dim is None:
        return shipped
    base = folder / "base"
    shutil.copytree(shipped, base, ignore=shutil.ignore_patterns("vae", "judge"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKLWan(base_dim=work.base_dim).save_pretrained(base / "vae")
    return base


class _Timed(Codec):
    """A codec that adds up what its VAE takes, in the thread that asks it."""

    took = Cost(0.0, 0.0)

    def encode(self, pixels: torch.Tensor, tiled: Tiling = tiling.WHOLE) -> torch.Tensor:
        """As Codec."""
        wall, cpu = time.perf_counter(), time.thread_time()
        raw = super().encode(pixels, tiled)
        before = self.took
        self.took = Cost(before.cpu + time.thread_time() - cpu, before.wall + time.perf_counter() - wall)
        return raw


class _Stage:
    """The cache stage from nothing, but for the texts."""

    def __init__(
        self, folder: Path, source: SourceParams, rows: Columns[Row], codec: _Timed, settings: CacheParams
    ) -> None:
        self._folder, self._source, self._rows, self._codec, self._settings = folder, source, rows, codec, settings
        self.inside: list[Cost] = []  # what the VAE took in each run

    def __call__(self) -> Cost:
        shutil.rmtree(self._folder / "pool", ignore_errors=True)
        self._write(self._prompts())
        _ = self._codec.vae  # loaded before, as the VAE alone has it
        self._codec.took = Cost(0.0, 0.0)
        took = in_turn.cost(lambda: self._write(self._rows))
        self.inside.append(self._codec.took)
        return took

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
