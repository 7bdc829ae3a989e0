"""Which rows a step trains on: a pure function of (seed, step), the same for any number of readers and processes.

A step's rows are of one bucket. Buckets take turns by their shares; within a bucket the rows of an epoch come in an
order drawn for (seed, bucket, epoch), and a batch may reach into the next epoch, so no batch is short. Several
processes that train one model share every batch: each takes the rows of its own places. So where a training stands is
its step, and nothing else: a checkpoint holds that number and the digest of the dataset it counts in.
"""

import itertools
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from frostline import randomness
from frostline.dataset import Batch, Dataset, Stored
from frostline.errors import WrongUse
from frostline.params.trainings import BucketShare


class Draw(NamedTuple):
    """One row of a step: its number in the dataset, and how often it was seen before."""

    row: int
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of every batch that one of ``world`` processes takes."""

    rank: int = 0
    world: int = 1

    def places(self, size: int) -> range:
        """The places it takes in a batch of ``size`` rows."""
        return range(self.rank, size, self.world)


WHOLE = Share()


class Batches:
    """The batches of a training."""

    def __init__(
        self, dataset: Dataset, *, buckets: Mapping[str, BucketShare], steps: int, dropout: float, seed: int
    ) -> None:
        """Raises WrongUse if one of ``buckets`` has no training rows."""
        if not buckets:
            raise WrongUse("buckets is empty: name at least one, e.g. 1x32x32: {share: 1.0, batch: 32}")
        self.dataset, self.buckets, self.dropout, self.seed = dataset, buckets, dropout, seed
        self._rows = {bucket: dataset.rows(bucket, "train") for bucket in buckets}
        self._turns, self._before = _turns({name: bucket.share for name, bucket in buckets.items()}, steps)
        self._orders: dict[tuple[str, int], np.ndarray] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which as many rows were drawn as there are."""
        shares = sum(bucket.share for bucket in self.buckets.values())
        rows_per_step = sum(bucket.share * bucket.batch for bucket in self.buckets.values()) / shares
        return math.ceil(sum(map(len, self._rows.values())) / rows_per_step)

    def bucket(self, step: int) -> str:
        """The bucket of a step."""
        return self._turns[step]

    def draws(self, step: int, share: Share = WHOLE) -> list[Draw]:
        """The rows of a share of a step, in the order of its places."""
        bucket = self._turns[step]
        count, size = len(self._rows[bucket]), self.buckets[bucket].batch
        draws: list[Draw] = []
        positions = range(self._before[step] * size + share.rank, (self._before[step] + 1) * size, share.world)
        while positions:
            epoch, place = divmod(positions[0], count)
            here = positions[: math.ceil((count - place) / share.world)]
            rows = self._shuffled(bucket, epoch)[place : place + here[-1] - here[0] + 1 : share.world]
            draws += [Draw(row, epoch) for row in rows.tolist()]
            positions = positions[len(here) :]
        return draws

    def _shuffled(self, bucket: str, epoch: int) -> np.ndarray:
        """The rows of a bucket as they come in an epoch."""
        if (bucket, epoch) not in self._orders:
            self._orders = {
                key: order for key, order in self._orders.items() if key[0] != bucket or key[1] == epoch - 1
            }
            rows = self._rows[bucket]
            self._orders[bucket, epoch] = rows[order(rows, bucket, epoch, self.seed)]
        return self._orders[bucket, epoch]

    def at(self, step: int) -> Batch:
        """The batch of a step: each row with one of its captions, drawn by weight per (seed, epoch, row).

        A row loses its caption with probability ``dropout``, drawn likewise.
        """
        return self.dataset.finish(self.read(step))

    def read(self, step: int, share: Share = WHOLE, room: memoryview | None = None) -> Stored:
        """The bytes of a share of a step's batch, in the order of its places; into ``room`` if it is given."""
        draws = self.draws(step, share)
        chances: list[float] = []
        for epoch, seen in itertools.groupby(draws, key=operator.attrgetter("epoch")):
            chances += randomness.uniforms((draw.row for draw in seen), self.seed, "caption", epoch)
        dropped = [chance < self.dropout for chance in chances]
        captions = [caption(self.dataset, draw, self.seed) for draw in draws]
        return self.dataset.read([draw.row for draw in draws], dropped, captions, room)

    def most(self, share: Share = WHOLE) -> int:
        """How many bytes a share of a batch takes at most."""
        sizes = {name: len(share.places(bucket.batch)) for name, bucket in self.buckets.items()}
        return max(self.dataset.most([int(self._rows[name][0])] * size) for name, size in sizes.items())

    def expect(self, step: int, share: Share = WHOLE) -> None:
        """Say that a share of a step's batch will be read soon."""
        draws = self.draws(step, share)
        self.dataset.expect([draw.row for draw in draws], [caption(self.dataset, draw, self.seed) for draw in draws])


def order(rows: np.ndarray, bucket: str, epoch: int, seed: int) -> np.ndarray:
    """The order in which the rows of a bucket come in an epoch, as places in ``rows``."""
    return torch.randperm(len(rows), generator=randomness.generator(seed, "order", bucket, epoch)).numpy()


def caption(dataset: Dataset, draw: Draw, seed: int) -> int:
    """Which of its captions a row is shown with."""
    weights = dataset.weights(draw.row)
    if len(weights) == 1:
        return 0
    ends = np.cumsum(weights)
    place = ends[-1] * randomness.uniform(seed, "which caption", draw.epoch, draw.row)
    return int(np.searchsorted(ends[:-1], place, side="right"))


def _turns(shares: Mapping[str, float], steps: int) -> tuple[list[str], list[int]]:
    """The bucket of every step, each bucket as often as its share says, evenly spread; and its turns before."""
    names = sorted(shares)
    weights = np.array([shares[name] for name in names]) / sum(shares.values())
    counts = np.zeros(len(names), dtype=int)
    turns, before = [], []
    for step in range(steps):
        owed = int(np.argmax(weights * (step + 1) - counts))
        turns.append(names[owed])
        before.append(int(counts[owed]))
        counts[owed] += 1
    return turns, before
