"""The sections ``train``, ``tuned`` and ``students``: how models learn."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

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


Beta = Annotated[float, pydantic.Field(ge=0, lt=1)]


class OptimizerParams(Record):
    """Muon on the matrices of the blocks, AdamW on the rest."""

    muon_rate: Rate | None  # null: AdamW moves the matrices too
    adamw_rate: Rate
    weight_decay: Annotated[float, pydantic.Field(ge=0)]
    warmup_steps: Count
    schedule: Literal["cosine", "constant"]
    clip: Rate
    adam_betas: tuple[Beta, Beta] | None = records.unsaid()  # null: .9 and .95
    state_bits: Literal[8] | None = records.unsaid()  # of each of AdamW's two means of a weight; null: 32


class SamplingParams(Record):
    """How the finished model is to be sampled: becomes the ``Sampling`` part of its contract."""

    sampler: Literal["unipc", "euler", "renoise", "flow_map"]  # the last two of students of few steps
    steps: Positive
    shift: Rate
    guidance: Annotated[float, pydantic.Field(ge=0)]


FEW_STEPS = ("renoise", "flow_map")  # samplers of students alone


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


class TokenShare(Record):
    """The same, its rows in one step as many as a number of tokens makes: see ``frostline.budgets``."""

    share: Rate  # of the steps
    tokens: Positive  # in one step, at most


def _kind(share: Any) -> str:
    """Which of the two a share is: by what it says."""
    said = share if isinstance(share, Mapping) else dict(share) if isinstance(share, Record) else {}
    return TOKENS if "tokens" in said else ROWS


ROWS, TOKENS = "rows of a step", "tokens of a step"  # no keys, so that messages name none but those of params.yaml
AnyShare = Annotated[
    Annotated[BucketShare, pydantic.Tag(ROWS)] | Annotated[TokenShare, pydantic.Tag(TOKENS)],
    pydantic.Discriminator(_kind),
]


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
    buckets: dict[BucketName, AnyShare]
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


class DiffusionParams(Record):
    """A DDPM schedule: becomes the ``Diffusion`` part of a contract."""

    steps: Annotated[int, pydantic.Field(ge=2)] = 1000
    betas: Literal["linear", "scaled_linear"]  # the second: linear in their square roots
    beta_start: Annotated[float, pydantic.Field(gt=0, lt=1)]
    beta_end: Annotated[float, pydantic.Field(gt=0, lt=1)]
    zero_terminal_snr: bool  # rescaled so that nothing is left of the clean latent at the last step


class DataParams(LoopParams):
    """One training on data alone, towards a velocity or what means one."""

    # None: the velocity, or what the start of a tuned training learned
    prediction: Literal["velocity", "v_prediction", "epsilon"] | None = records.unsaid()
    diffusion: DiffusionParams | None = records.unsaid()  # the schedule of the other two

    @pydantic.model_validator(mode="after")
    def is_no_student(self) -> "DataParams":
        """Refuse the samplers of students of few steps: data alone teach none."""
        if self.sampling.sampler in FEW_STEPS:
            raise ValueError(
                f"sampling.sampler {self.sampling.sampler} is that of students of few steps; a training on data makes "
                "a velocity: ask for unipc or euler"
            )
        return self

    @pydantic.model_validator(mode="after")
    def predicts_on_a_schedule(self) -> "DataParams":
        """Refuse a prediction without its schedule, a schedule without, and epsilon where it says nothing."""
        on_schedule = self.prediction in ("v_prediction", "epsilon")
        if on_schedule and self.diffusion is None:
            raise ValueError(
                f"prediction {self.prediction} without diffusion, its DDPM schedule: add one, such as {{betas: "
                "scaled_linear, beta_start: 0.00085, beta_end: 0.012, zero_terminal_snr: true}"
            )
        if self.diffusion is not None and not on_schedule:
            raise ValueError(
                "diffusion is a schedule, and a velocity has none: add prediction: v_prediction, or epsilon"
            )
        if self.prediction == "epsilon" and self.diffusion is not None and self.diffusion.zero_terminal_snr:
            raise ValueError(
                "prediction epsilon says nothing at the end of a schedule of zero terminal signal: learn v_prediction, "
                "or set diffusion.zero_terminal_snr: false"
            )
        return self


class TrainParams(DataParams):
    """One training from weights that a seed draws."""

    model: ModelParams


class AdapterParams(Record):
    """Low-rank matrices beside frozen weights: W + alpha / rank * up @ down."""

    rank: Positive
    alpha: Rate
    targets: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]  # matrices by name, or by what their names end in
    offload: bool = False  # weights wait in the host's memory, and a block's come to the device when it is their turn
    frozen_dtype: Literal["float8_e4m3fn"] | None = (
        records.unsaid()
    )  # of the blocks' matrices; null: as they are stored


class TunedParams(DataParams):
    """One training that goes on from a model's weights, in its shape."""

    start: str  # a model folder, or one that was fetched
    # None: all weights are trained. Then it is not stated, so digests of such params are what they were.
    adapter: AdapterParams | None = records.unsaid()


Scale = Annotated[float, pydantic.Field(ge=0)]
Expert = Literal["high_noise", "low_noise"]


VELOCITY, JUMPS, FLOW_MAP = ("unipc", "euler"), ("renoise",), ("flow_map",)
SAMPLERS = {  # of what each objective makes
    "velocity_matching": VELOCITY,
    "consistency": JUMPS,
    "distribution_matching": JUMPS,
    "consistency_and_distribution": JUMPS,
    "trajectory_matching": FLOW_MAP,
    "flow_map": FLOW_MAP,
}


class CriticParams(Record):
    """The network beside a student that learns what the student makes."""

    updates: Positive  # before each step of the student
    optimizer: OptimizerParams


class TangentParams(Record):
    """How a flow map learns by its own derivative: see ``frostline.objectives.flow_map``."""

    at_start: Share  # of the rows: their end is their sigma, which is velocity matching
    at_zero: Share  # of the rows: their end is 0, which is consistency; the rest ends between
    warmup_steps: Count  # over which the derivative gains its weight
    delta: Rate  # of the central difference, in sigma: .0005 in float32, .005 in bfloat16

    @pydantic.model_validator(mode="after")
    def shares_are_shares(self) -> "TangentParams":
        """Refuse more rows than there are."""
        if self.at_start + self.at_zero > 1:
            raise ValueError(f"at_start {self.at_start:g} and at_zero {self.at_zero:g}: shares of one whole")
        return self


class StudentParams(LoopParams):
    """One student distilled with the teacher's guidance folded in."""

    objective: Literal[
        "velocity_matching",
        "consistency",
        "trajectory_matching",
        "flow_map",
        "distribution_matching",
        "consistency_and_distribution",
    ]
    teacher: str  # a model folder
    data: str  # data/latents, or data/trajectories/NAME of those that the teacher was seen to go; its index beside it
    layers: tuple[Count, ...]  # the teacher's layers the student starts from
    guidance: Scale | tuple[Scale, Scale]  # of a teacher of two experts: [high-noise expert, low-noise expert]
    start_expert: Expert | None = records.unsaid()  # null, of two: high_noise
    guidance_interval: tuple[Share, Share]  # sigmas in which guidance acts
    offload_teacher: bool = records.unsaid(False)  # its weights wait on the host; a block of them is on the device
    asked_at: Literal["teacher", "student"] | None = records.unsaid()  # velocity matching on rollouts of one of these
    # held-out rows whose samples are held against the teacher's at each validation; null: 64 of trajectories, else none
    proof_rows: Annotated[int, pydantic.Field(ge=2)] | Literal[0] | None = records.unsaid()
    tangent: TangentParams | None = records.unsaid()  # of the flow map
    critic: CriticParams | None = records.unsaid()  # of distribution matching
    distribution_weight: Rate | None = records.unsaid()  # of distribution matching beside consistency

    @property
    def scales(self) -> tuple[float, ...]:
        """The guidance that is folded in: of the teacher's one network, or of its two experts."""
        return self.guidance if isinstance(self.guidance, tuple) else (self.guidance,)

    @property
    def follows(self) -> bool:
        """Whether it learns from what its teacher was seen to do, and never asks it."""
        return self.objective == "trajectory_matching"

    @property
    def maps(self) -> bool:
        """Whether it is told where to go, and makes the mean velocity up to there."""
        return SAMPLERS[self.objective] == FLOW_MAP

    @property
    def is_consistent(self) -> bool:
        """Whether it learns to name one clean end, from an average of itself."""
        return self.objective in ("consistency", "consistency_and_distribution")

    @property
    def matches_distribution(self) -> bool:
        """Whether it learns on what it makes, beside a critic."""
        return self.objective in ("distribution_matching", "consistency_and_distribution")

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

    @pydantic.model_validator(mode="after")
    def is_sampled_as_it_learned(self) -> "StudentParams":
        """Refuse the sampler of another objective, and what means nothing to this one."""
        allowed = SAMPLERS[self.objective]
        if self.sampling.sampler not in allowed:
            raise ValueError(
                f"sampling.sampler {self.sampling.sampler}: {self.objective} makes a student that is sampled by "
                f"{' or '.join(allowed)}; ask for that"
            )
        if self.objective != "velocity_matching" and self.draws != "uniform":
            raise ValueError(
                f"draws {self.draws}: every sample of a student of few steps begins at sigma 1, where logit_normal "
                "draws next to nothing; say uniform"
            )
        if (self.follows or self.objective == "distribution_matching") and self.caption_dropout:
            raise ValueError(
                f"caption_dropout {self.caption_dropout:g}: {self.objective} takes captions as they are, and nobody "
                "asks it without; say 0.0"
            )
        if self.follows and self.offload_teacher:
            raise ValueError(f"offload_teacher is not read by {self.objective}, which asks no teacher: leave it out")
        return self

    @pydantic.model_validator(mode="after")
    def has_a_critic_where_one_is_asked(self) -> "StudentParams":
        """Refuse a critic or a weight that nothing reads, a missing one, and a best by a loss that judges nothing."""
        wanted = {"critic": self.matches_distribution, "tangent": self.objective == "flow_map"}
        wanted["distribution_weight"] = self.objective == "consistency_and_distribution"
        if self.asked_at is not None and self.objective != "velocity_matching":
            raise ValueError(f"asked_at is not read by {self.objective}: leave it out")
        for name, needed in wanted.items():
            if needed and getattr(self, name) is None:
                raise ValueError(f"{self.objective} without {name}: add one (docs/training.md)")
            if not needed and getattr(self, name) is not None:
                raise ValueError(f"{name} is not read by {self.objective}: leave it out")
        if self.objective not in ("velocity_matching", "trajectory_matching") and self.keep.best:
            raise ValueError(
                f"keep.best {self.keep.best}: the loss of {self.objective} is the size of a gradient, or measured "
                "against the student itself, and says nothing of quality; set it to 0"
            )
        return self
