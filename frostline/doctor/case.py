"""What there is to examine, and what is seen on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from frostline.doctor.errors_by_sigma import Curve
from frostline.doctor.readings import Reading, Scored
from frostline.doctor.rows import Cache, Rows
from frostline.doctor.subjects import Subject
from frostline.findings import Finding

Check = Callable[[], Finding]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is asked."""

    rows: int  # that a network is asked about
    statistics: int  # rows of a cache that are looked at
    samples: int
    deep: bool = False

    @classmethod
    def of(cls, *, deep: bool) -> "Size":
        """The quick size, or the deep one."""
        return (
            cls(rows=256, statistics=8192, samples=60, deep=True) if deep else cls(rows=32, statistics=1024, samples=12)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """All that there is to examine."""

    subject: Subject | None
    teacher: Subject | None
    cache: Cache | None
    base: Path | None
    size: Size
    run: Path | None = None  # work folder of a training that has not ended

    @property
    def name(self) -> str:
        """What the examination is of."""
        if self.subject is not None:
            return self.subject.name
        if self.run is not None:
            return str(self.run)
        return self.cache.origin if self.cache is not None else "nothing"


@dataclass(kw_only=True, eq=False)
class Seen:
    """What was seen on the way, for the page and for checks that come later."""

    scored: list[Scored] = field(default_factory=list)
    reading: Reading | None = None  # as it is declared, else as D36 found it
    curve: Curve | None = None
    unexplained: Curve | None = None
    scales: dict[float, float] = field(default_factory=dict)
    samples: Tensor | None = None  # latents
    noise: Tensor | None = None  # they were made of
    text: Tensor | None = None  # they were asked for
    pixels: Tensor | None = None  # (N, T, H, W, 3), 0 to 1
    real: Tensor | None = None  # pixels of the data
    channels: tuple[Tensor, Tensor] | None = None  # mean and deviation of the cache
    rows: Rows | None = None  # that the network was asked about
