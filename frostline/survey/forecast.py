"""What the data will cost: bytes on disk, calls of the VAE, tokens of a step, and how often a training sees a row.

Computed from buckets, the base's latent space and params; nothing is encoded. Only the tokens of captions are
counted with the base's tokenizer, of SAMPLED captions where there are more.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from frostline import budgets
from frostline import contract as contracts
from frostline.contract import LatentSpace
from frostline.pages import words
from frostline.pages.words import Bucket
from frostline.params import CacheParams, Params
from frostline.params.trainings import BucketShare, LoopParams
from frostline.store import layout
from frostline.survey import material
from frostline.survey.material import Source

SAMPLED = 20_000  # captions of one source that are tokenised

Tokens = Callable[[Sequence[str]], Sequence[int]]
"""captions -> how many tokens each has, uncut"""


@dataclass(frozen=True, kw_only=True)
class BucketCost:
    """One bucket of one source."""

    bucket: Bucket
    source: str
    rows: int
    shape: tuple[int, int, int, int]  # of a row's latent
    latent_bytes: int
    calls: int  # of the VAE


@dataclass(frozen=True, kw_only=True)
class TextCost:
    """The captions of one source."""

    source: str
    captions: int  # distinct
    lengths: tuple[int, ...]  # in tokens, of those that were counted
    cut: float  # share of those with more tokens than a transformer sees
    text_bytes: int  # of all of them; estimated where not all were counted


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """One bucket in one training or distillation."""

    run: str
    bucket: str
    batch: int
    rows: int  # to train on
    tokens: int  # of one row
    steps: float  # of the training, that are of this bucket
    whole: bool  # does the latent divide into patches?

    @property
    def step_tokens(self) -> int:
        """Tokens of one step."""
        return self.tokens * self.batch

    @property
    def seen(self) -> float:
        """How often a row is seen in the whole training; 0 where there is none."""
        return self.steps * self.batch / self.rows if self.rows else 0.0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What all of it will cost."""

    space: LatentSpace
    buckets: list[BucketCost]
    texts: list[TextCost]
    runs: list[RunCost]


def forecast(sources: Sequence[Source], settings: Params, space: LatentSpace, tokens: Tokens) -> Forecast:
    """The costs of these sources under these params."""
    return Forecast(
        space=space,
        buckets=[
            _bucket(bucket, name, len(rows), space, settings.cache)
            for bucket, by_source in material.buckets(sources).items()
            for name, rows in by_source.items()
        ],
        texts=[_text(source, space, tokens) for source in sources],
        runs=_runs(sources, settings, space),
    )


def _bucket(bucket: Bucket, source: str, rows: int, space: LatentSpace, cache: CacheParams) -> BucketCost:
    shape = space.shape(bucket)
    width = math.prod(shape) * layout.DTYPES[space.stored_dtype].itemsize
    calls = -(-rows // cache.encode_batch)
    return BucketCost(bucket=bucket, source=source, rows=rows, shape=shape, latent_bytes=rows * width, calls=calls)


def _text(source: Source, space: LatentSpace, tokens: Tokens) -> TextCost:
    captions = sorted({caption for row in source.everything for caption in row.captions})
    every = -(-len(captions) // SAMPLED)
    lengths = tuple(tokens(captions[::every])) if captions else ()
    kept = sum(min(length, space.text_length) for length in lengths)
    scale = len(captions) / len(lengths) if lengths else 0.0
    return TextCost(
        source=source.name,
        captions=len(captions),
        lengths=lengths,
        cut=sum(length > space.text_length for length in lengths) / len(lengths) if lengths else 0.0,
        text_bytes=round(kept * scale) * space.text_dim * layout.DTYPES[space.text_stored_dtype].itemsize,
    )


def _runs(sources: Sequence[Source], settings: Params, space: LatentSpace) -> list[RunCost]:
    loops: dict[str, LoopParams] = {**settings.train.runs, **settings.tuned, **settings.students}
    patches, world = _patches(settings), settings.train.launch.nodes * settings.train.launch.gpus_per_node
    rows: Counter[str] = Counter()
    for bucket, by_source in material.buckets(sources).items():
        rows[words.name(bucket)] = sum(row.split == "train" for of_source in by_source.values() for row in of_source)
    followed = {name: settings.followed_by(student) for name, student in settings.students.items()}
    made = {name: of.rows for name, of in followed.items() if of}
    return [
        _run(name, loop, bucket, share, made.get(name, rows)[bucket], space, patches[name])
        for name, loop in loops.items()
        if name in patches
        for bucket, share in budgets.resolved(
            loop.buckets, space, patches[name], world * loop.compute.accumulate
        ).items()
    ]


def _patches(settings: Params) -> dict[str, tuple[int, int, int]]:
    """Patch sizes by name of folder: of shapes in params, of the base's transformer, and of what begins with either.

    Those of other published models are in folders that the survey does not depend on.
    """
    found = {name: run.model.patch_size for name, run in settings.train.runs.items()}
    base = Path(settings.base)
    known = contracts.load(base).process if (base / contracts.FILE).is_file() else None
    if known is not None:
        found[base.name] = known.patch_size
    begun = {name: run.start for name, run in settings.tuned.items()}
    begun |= {name: student.teacher for name, student in settings.students.items()}
    for _ in begun:  # each round knows one model more, whatever their order
        found |= {name: found[Path(first).name] for name, first in begun.items() if Path(first).name in found}
    return found


def _run(
    name: str,
    loop: LoopParams,
    bucket: str,
    share: BucketShare,
    rows: int,
    space: LatentSpace,
    patch: tuple[int, int, int],
) -> RunCost:
    latent = space.shape(layout.bucket_of(bucket))[1:]
    return RunCost(
        run=name,
        bucket=bucket,
        batch=share.batch,
        rows=rows,
        tokens=math.prod(side // step for side, step in zip(latent, patch, strict=True)),
        steps=loop.steps * share.share / sum(other.share for other in loop.buckets.values()),
        whole=not any(side % step for side, step in zip(latent, patch, strict=True)),
    )
