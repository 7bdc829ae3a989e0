"""The sections ``train`` and ``students``: how models learn."""

from typing import Annotated, Literal

import pydantic

from frostline.params.values import BucketName, Count, Positive, Rate, Share
from frostline.records import Record


class Every(Record):
    """An interval: in steps or in epochs, one of them."""

    steps: Positive | None = None
    epochs: Positive | None = None

    @pydantic.model_validator(mode="after")
    def one_unit(self) -> "Every":
        """Refuse both and neither."""
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self

    def in_steps(self, steps_per_epoch: int) -> int:
        """The interval in optimiser steps."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_per_epoch


class ModelParams(Record):
    """Shape of a Wan transformer."""

    layers: Positive
    heads: Positive
    head_dim: Positive
    ffn_dim: Positive
    patch_size: tuple[Positive, Positive, Positive]


class OptimizerParams(Record):
    """Muon on the matrices of the blocks, AdamW on the rest."""

    muon_rate: Rate
    adamw_rate: Rate
    weight_decay: Annotated[float, pydantic.Field(ge=0)]
    warmup_steps: Count
    schedule: Literal["cosine", "constant"]
    clip: Rate


class SamplingParams(Record):
    """How the finished model is to be sampled: becomes the ``Sampling`` part of its contract."""

    sampler: Literal["unipc", "euler"]
    steps: Positive
    shift: Rate
    guidance: Annotated[float, pydantic.Field(ge=0)]


class FrozenLosses(Record):
    """Weights of losses on the VAE: zero, because the latents it made are already on disk."""

    vae_loss_weight: float
    kl_loss_weight: float

    @pydantic.model_validator(mode="after")
    def frozen(self) -> "FrozenLosses":
        """Refuse anything but zero."""
        for name in ("vae_loss_weight", "kl_loss_weight"):
            if getattr(self, name) != 0.0:
                raise ValueError(
                    f"{name} must be 0.0: the VAE is frozen and its latents are cached, so a loss on it would move the "
                    "latent space away from the latents this model trains on"
                )
        return self


class BucketShare(Record):
    """How much of a training one bucket takes."""

    share: Rate  # of the steps
    batch: Positive  # rows in one step


class LoopParams(FrozenLosses):
    """What a training and a distillation have in common."""

    steps: Positive
    stop_at: Positive | None  # end early, at this step of the plan; the model is marked unfinished
    buckets: dict[BucketName, BucketShare]
    draws: Literal["logit_normal", "uniform"]
    shift: Rate
    caption_dropout: Share
    optimizer: OptimizerParams
    ema_decay: Annotated[float, pydantic.Field(ge=0, lt=1)]
    validate_every: Every
    checkpoint_every: Positive  # steps
    threads: Positive  # of CPU; the bits of the weights depend on it
    seed: int


class TrainParams(LoopParams):
    """One training by flow matching."""

    model: ModelParams
    sampling: SamplingParams


class StudentParams(LoopParams):
    """One student distilled by velocity matching with the teacher's guidance folded in."""

    objective: Literal["velocity_matching"]
    teacher: str  # a model folder
    layers: tuple[Count, ...]  # the teacher's layers the student starts from
    guidance: Annotated[float, pydantic.Field(ge=0)]
    guidance_interval: tuple[Share, Share]  # sigmas in which guidance acts
    sampling: SamplingParams

    @pydantic.model_validator(mode="after")
    def guidance_is_applied_once(self) -> "StudentParams":
        """Refuse an interval without sigmas, and guidance from outside on top of what is folded in."""
        low, high = self.guidance_interval
        if low >= high:
            raise ValueError(f"guidance_interval {[low, high]} holds no sigma; give [low, high]")
        if self.sampling.guidance != 1.0:
            raise ValueError(f"sampling.guidance is {self.sampling.guidance:g}: guidance is folded in, so it must be 1")
        return self
