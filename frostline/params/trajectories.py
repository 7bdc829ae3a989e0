"""The section ``trajectories``: what teachers are seen to do of noise, for students of few steps."""

from typing import Annotated, Literal

import pydantic

from frostline.params.trainings import Scale
from frostline.params.values import BucketName, Positive, Rate, Share
from frostline.records import Record


class TrajectoriesParams(Record):
    """Trajectories of one teacher, from noise to its clean ends."""

    teacher: str  # a model folder
    guidance: Scale | tuple[Scale, Scale]  # of a teacher of two experts: [high-noise expert, low-noise expert]
    guidance_interval: tuple[Share, Share]  # sigmas in which guidance acts
    shift: Rate  # of the sigmas that are visited
    points: Positive  # that are kept of each, beside its noise: students take as many steps, or a divisor of them
    substeps: Positive  # of the solver from one point to the next
    rows: Annotated[dict[BucketName, Positive], pydantic.Field(min_length=1)]  # trajectories to learn from
    validation: Positive  # of each bucket, of captions that are held out
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU if there is one
    threads: Positive  # of CPU; points depend on it in their last bits
    seed: int

    @property
    def scales(self) -> tuple[float, ...]:
        """The guidance of the teacher's one network, or of its two experts."""
        return self.guidance if isinstance(self.guidance, tuple) else (self.guidance,)

    @pydantic.model_validator(mode="after")
    def guides_somewhere(self) -> "TrajectoriesParams":
        """Refuse an interval without sigmas."""
        low, high = self.guidance_interval
        if low >= high:
            raise ValueError(f"guidance_interval {[low, high]} holds no sigma; give [low, high]")
        return self
