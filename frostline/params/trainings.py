"""The sections ``train``, ``tuned`` and ``students``: how models learn."""

from typing import Annotated, Literal

import pydantic

from frostline import records
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

    muon_rate: Rate | None  # null: AdamW moves the matrices too
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


class ComputeParams(Record):
    """What a step takes of the machine; rows, noise and sigmas are the same whatever stands here."""

    dtype: Literal["auto", "float32", "bfloat16"]  # of the network's arithmetic; auto: bfloat16 on a GPU, else float32
    accumulate: Positive  # parts that each process takes its rows of a step in, one after the other
    recompute: bool  # activations are made again in the backward pass, block by block, in place of being kept
    compile: bool  # each block by torch.compile


class KeepParams(Record):
    """Which checkpoints stay while a training runs."""

    last: Positive  # the newest
    best: Count  # those with the lowest validation loss; a new lowest one is saved at once
    milestones: Positive | None  # every so many steps


class LaunchParams(Record):
    """The processes that train one model: torchrun starts them where they are more than one."""

    device: Literal["auto", "cpu", "cuda"]  # auto: GPUs if there are any
    nodes: Positive
    gpus_per_node: Positive  # processes on each node, a GPU for each; without GPUs as many processes on the CPU
    rendezvous: str | None  # host:port of the first node, where nodes are more than one

    @pydantic.model_validator(mode="after")
    def nodes_meet(self) -> "LaunchParams":
        """Refuse several nodes that do not know where to meet."""
        if self.nodes > 1 and self.rendezvous is None:
            raise ValueError(f"rendezvous is null for {self.nodes} nodes: give host:port of the first")
        return self


class LoopParams(FrozenLosses):
    """What trainings and distillations have in common."""

    steps: Positive
    stop_at: Positive | None  # end early, at this step of the plan; the model is marked unfinished
    buckets: dict[BucketName, BucketShare]
    draws: Literal["logit_normal", "uniform"]
    shift: Rate
    caption_dropout: Share
    context: Positive | None = records.unsaid()  # first latent frames that are given
    optimizer: OptimizerParams
    ema_decay: Annotated[float, pydantic.Field(ge=0, lt=1)]
    validate_every: Every
    checkpoint_every: Positive  # steps
    keep: KeepParams
    skip_nonfinite: Count  # batches at most that may be left out because their loss or gradient is no number
    compute: ComputeParams
    threads: Positive  # of CPU; the bits of the weights depend on it
    seed: int
    sampling: SamplingParams


class TrainParams(LoopParams):
    """One training by flow matching, from weights that a seed draws."""

    model: ModelParams


class AdapterParams(Record):
    """Low-rank matrices beside frozen weights: W + alpha / rank * up @ down."""

    rank: Positive
    alpha: Rate
    targets: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]  # matrices by name, or by what their names end in
    offload: bool = False  # weights wait in the host's memory, and a block's come to the device when it is their turn


class TunedParams(LoopParams):
    """One training by flow matching that goes on from a model's weights, in its shape."""

    start: str  # a model folder, or one that was fetched
    # None: all weights are trained. Then it is not stated, so digests of such params are what they were.
    adapter: AdapterParams | None = records.unsaid()


Scale = Annotated[float, pydantic.Field(ge=0)]
Expert = Literal["high_noise", "low_noise"]


class StudentParams(LoopParams):
    """One student distilled by velocity matching with the teacher's guidance folded in."""

    objective: Literal["velocity_matching"]
    teacher: str  # a model folder
    layers: tuple[Count, ...]  # the teacher's layers the student starts from
    guidance: Scale | tuple[Scale, Scale]  # of a teacher of two experts: [high-noise expert, low-noise expert]
    start_expert: Expert | None = records.unsaid()  # null, of two: high_noise
    guidance_interval: tuple[Share, Share]  # sigmas in which guidance acts

    @property
    def scales(self) -> tuple[float, ...]:
        """The guidance that is folded in: of the teacher's one network, or of its two experts."""
        return self.guidance if isinstance(self.guidance, tuple) else (self.guidance,)

    @pydantic.model_validator(mode="after")
    def guidance_is_applied_once(self) -> "StudentParams":
        """Refuse an interval without sigmas, guidance from outside on top of what is folded in, and a context."""
        if self.context is not None:
            raise ValueError(f"context is {self.context}: students that continue clips are not built yet; leave it out")
        low, high = self.guidance_interval
        if low >= high:
            raise ValueError(f"guidance_interval {[low, high]} holds no sigma; give [low, high]")
        if self.sampling.guidance != 1.0:
            raise ValueError(f"sampling.guidance is {self.sampling.guidance:g}: guidance is folded in, so it must be 1")
        return self
