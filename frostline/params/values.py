"""Kinds of values that keys of params.yaml take."""

from typing import Annotated

import pydantic

Positive = Annotated[int, pydantic.Field(gt=0)]
Count = Annotated[int, pydantic.Field(ge=0)]
Rate = Annotated[float, pydantic.Field(gt=0)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Name = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


def _whole_latents(frames: int) -> int:
    """Refuse frame counts that are not 4n + 1: the VAE would silently drop the rest."""
    if frames % 4 != 1:
        below = frames - (frames - 1) % 4
        raise ValueError(
            f"frames must be 4n + 1 (the VAE drops the rest silently): {below} or {below + 4}, not {frames}"
        )
    return frames


Frames = Annotated[int, pydantic.Field(gt=0), pydantic.AfterValidator(_whole_latents)]
Bucket = tuple[Frames, Positive, Positive]  # frames, height, width
BucketName = Annotated[str, pydantic.Field(pattern=r"^[1-9][0-9]*x[1-9][0-9]*x[1-9][0-9]*$")]  # 5x32x32
