"""What an artefact means: three frozen records, each true of more kinds of artefact than the next.

A latent cache has a ``LatentSpace``; a model has that and a ``Process``; a model that may be sampled has both and a
``Sampling``. Trainer, distiller and sampler are built from these records and from nothing else, and every door
that takes an artefact in compares its own part before the first tensor is read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pydantic

from frostline import digests, files, records
from frostline.errors import Refused, WrongUse
from frostline.records import Record

FILE = "contract.json"
METADATA = "frostline.contract"
TIMESTEP_SCALE = 1000.0  # of Wan: a network takes 1000 * sigma
FLOWS = ("velocity", "mean_velocity")  # predictions of the straight path itself


class LatentSpace(Record):
    """How pixels and words became tensors: true of caches, models and samples."""

    vae_digest: str  # weights and configuration
    z_dim: int
    latents_mean: tuple[float, ...]  # per channel, of the raw posterior mean
    latents_std: tuple[float, ...]
    spatial_stride: int  # pixels per latent along height and width
    temporal_stride: int  # frames per latent frame after the first
    frame_rule: Literal["1+kn"] = "1+kn"  # frames = 1 + temporal_stride * n
    posterior: Literal["mean"] = "mean"
    input_range: tuple[float, float] = (-1.0, 1.0)
    encode_dtype: Literal["float32", "bfloat16"] = "float32"
    stored_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    text_encoder_digest: str  # weights, configuration and tokenizer
    text_dim: int
    text_length: int  # tokens a transformer sees
    text_stored_dtype: Literal["float32", "bfloat16"] = "float32"  # the text encoder's own, so nothing is lost
    text_padding: Literal["zeros"] = "zeros"  # after the true length
    null_prompt: str = ""

    def shape(self, bucket: Sequence[int]) -> tuple[int, int, int, int]:
        """Latent shape (C, T', H', W') of a bucket (frames, height, width) in pixels.

        Raises WrongUse for sizes that this VAE would cut off silently.
        """
        frames, height, width = bucket
        if frames < 1 or (frames - 1) % self.temporal_stride:
            low = 1 + max(frames - 1, 0) // self.temporal_stride * self.temporal_stride
            raise WrongUse(
                f"{frames} frames: the VAE takes 1 + {self.temporal_stride}n and drops the rest silently; "
                f"use {low} or {low + self.temporal_stride}"
            )
        if height % self.spatial_stride or width % self.spatial_stride or min(height, width) < 1:
            raise WrongUse(f"size {height}x{width}: height and width must be multiples of {self.spatial_stride}")
        stride = self.spatial_stride
        return (self.z_dim, 1 + (frames - 1) // self.temporal_stride, height // stride, width // stride)

    def stored_as(self, other: "LatentSpace") -> "LatentSpace":
        """The same space, its latents encoded and stored as in another: that is a fact of caches, not of bases."""
        return self.model_copy(update={"encode_dtype": other.encode_dtype, "stored_dtype": other.stored_dtype})


class Diffusion(Record):
    """The DDPM schedule that a network learned on (``frostline.diffusion``)."""

    steps: int = 1000
    betas: Literal["linear", "scaled_linear"]  # the second: linear in their square roots
    beta_start: float
    beta_end: float
    zero_terminal_snr: bool  # rescaled so that nothing is left of the clean latent at the last step


class Process(Record):
    """What a network was trained to predict: true of every model."""

    path: Literal["flow_matching"] = "flow_matching"  # noised = (1 - sigma) * clean + sigma * noise
    # noise - clean; its mean down to a second sigma that the network is told; or what is learned on a DDPM schedule
    prediction: Literal["velocity", "mean_velocity", "v_prediction", "epsilon"] = "velocity"
    diffusion: Diffusion | None = None  # the schedule of the other two; they are read as velocities on the path above
    sigma_convention: Literal["1 is noise"] = "1 is noise"
    timestep_scale: float = TIMESTEP_SCALE  # the network takes timestep_scale * sigma
    shift: float  # of the training's sigma distribution
    draws: Literal["logit_normal", "uniform"]
    patch_size: tuple[int, int, int]
    buckets: tuple[tuple[int, int, int], ...] | None = None  # trained (frames, height, width) in pixels; None: unknown
    conditioning: Literal["none", "context"] = "none"
    context: int | None = records.unsaid()  # first latent frames that are given
    expert_boundary: float | None = None  # sigma from which the high-noise expert serves

    @pydantic.model_validator(mode="after")
    def is_conditioned_by_what_it_has(self) -> "Process":
        """Refuse a context without its length, one that patches do not fit into, and one of a flow map."""
        if self.context is not None and self.prediction == "mean_velocity":
            raise ValueError("context: flow maps that continue clips are not built yet; leave it out")
        if (self.conditioning == "context") != (self.context is not None):
            raise ValueError(f"conditioning {self.conditioning} and context {self.context} do not belong together")
        if self.context is not None and (self.context < 1 or self.context % self.patch_size[0]):
            raise ValueError(f"context {self.context}: give latent frames, a multiple of {self.patch_size[0]}")
        return self

    @pydantic.model_validator(mode="after")
    def predicts_on_its_schedule(self) -> "Process":
        """Refuse a prediction without its schedule, and epsilon where it says nothing."""
        if (self.prediction in FLOWS) != (self.diffusion is None):
            raise ValueError(f"prediction {self.prediction} and diffusion {self.diffusion} do not belong together")
        if self.prediction == "epsilon" and self.diffusion is not None and self.diffusion.zero_terminal_snr:
            raise ValueError("epsilon says nothing at the end of a schedule of zero terminal signal: use v_prediction")
        return self

    @pydantic.model_validator(mode="after")
    def changes_experts_between_noise_and_clean(self) -> "Process":
        """Refuse a boundary that no sigma lies on one side of, such as a timestep."""
        if self.expert_boundary is not None and not 0 < self.expert_boundary < 1:
            raise ValueError(f"expert_boundary {self.expert_boundary:g} is no sigma between 0 and 1, such as 0.875")
        return self


class Sampling(Record):
    """How a model is sampled rightly: true of every model that may be sampled."""

    sampler: Literal["unipc", "wan_unipc", "euler", "renoise", "flow_map"]
    solver_order: int = 2  # UniPC of either grid
    rounds_timesteps: bool  # the network sees floor(1000 * sigma) / 1000, as under the stock pipeline
    steps: int  # default
    allowed_steps: tuple[int, ...] | None  # None: any number
    shift: float  # default
    allowed_shifts: tuple[float, ...] | None  # None: any
    sigmas: tuple[float, ...] | None  # the trained list of a few-step student
    guidance: float  # default scale; g = 1 is plain conditional; of two experts the high-noise one's
    guidance_low: float | None = records.unsaid()  # the low-noise expert's, of two
    guidance_form: Literal["external", "folded"]  # folded: sampled with one evaluation at g = 1
    teacher_digest: str | None  # weights it was distilled from
    negative_prompt: str | None = records.unsaid()  # away from it; None: the null one

    @property
    def scales(self) -> tuple[float, ...]:
        """The guidance of the one network, or of the high-noise expert and the low-noise one; if folded, what was."""
        return (self.guidance,) if self.guidance_low is None else (self.guidance, self.guidance_low)


class Contract(Record):
    """The parts that are true of one artefact."""

    latent_space: LatentSpace
    process: Process | None = None
    sampling: Sampling | None = None

    @pydantic.model_validator(mode="after")
    def jumps_as_it_was_told(self) -> "Contract":
        """Refuse a flow map that is sampled as a velocity, and a velocity that is sampled as a flow map."""
        if self.process is None or self.sampling is None:
            return self
        maps, jumps = self.process.prediction == "mean_velocity", self.sampling.sampler == "flow_map"
        if maps != jumps:
            raise ValueError(
                f"process.prediction {self.process.prediction} and the sampler {self.sampling.sampler} do not belong "
                "together: mean_velocity is sampled by flow_map, and nothing else is"
            )
        return self

    @pydantic.model_validator(mode="after")
    def guides_each_expert(self) -> "Contract":
        """Refuse two experts with one guidance, and a guidance of an expert that is not there."""
        if self.process is None or self.sampling is None or self.sampling.guidance_form == "folded":
            return self
        boundary, low = self.process.expert_boundary, self.sampling.guidance_low
        if boundary is not None and low is None:
            raise ValueError(
                f"process.expert_boundary {boundary:g} says two experts, and sampling.guidance_low, the low-noise "
                "expert's guidance, is missing: add it"
            )
        if boundary is None and low is not None:
            raise ValueError(
                f"sampling.guidance_low {low:g} is the guidance of a low-noise expert, and there is none without "
                "process.expert_boundary: leave it out, or say from which sigma on the high-noise expert serves"
            )
        return self

    @property
    def digest(self) -> str:
        """Digest of everything stated."""
        return digest(self)

    @property
    def negative_prompt(self) -> str:
        """What guidance steers away from."""
        own = self.sampling.negative_prompt if self.sampling else None
        return self.latent_space.null_prompt if own is None else own


class Difference(NamedTuple):
    """One field in which two contracts disagree."""

    field: str
    ours: Any
    theirs: Any


def digest(record: Record) -> str:
    """Digest of a record's values."""
    return digests.of_json(record.model_dump(mode="json"))


def differences(ours: Record, theirs: Record, prefix: str = "") -> list[Difference]:
    """The fields in which two records of one kind disagree, in the order they are declared."""
    found: list[Difference] = []
    for name in type(ours).model_fields:
        a, b = getattr(ours, name), getattr(theirs, name)
        if isinstance(a, Record) and isinstance(b, Record):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(Difference(f"{prefix}{name}", a, b))
    return found


def require_same(ours: Record, theirs: Record, *, ours_is: str, theirs_is: str, remedy: str) -> None:
    """Raise Refused naming each field, our value, their value and the remedy, if two records differ."""
    found = differences(ours, theirs)
    if found:
        lines = "\n".join(
            f"  {d.field}: {_short(d.ours)} ({ours_is}) against {_short(d.theirs)} ({theirs_is})" for d in found
        )
        raise Refused(f"{ours_is} and {theirs_is} do not belong together:\n{lines}\n{remedy}")


def save(contract: Contract, folder: str | Path) -> None:
    """Write ``contract.json`` into a folder."""
    files.write_json(Path(folder) / FILE, contract.model_dump(mode="json"))


def load(folder: str | Path) -> Contract:
    """Read ``contract.json`` of a folder; raises WrongUse if it is absent or damaged."""
    path = Path(folder) / FILE
    return parse(files.read_json(path), origin=str(path))


def parse(values: Any, *, origin: str) -> Contract:
    """A contract from its JSON values."""
    return records.parse(Contract, values, origin=origin)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
