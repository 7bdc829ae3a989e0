"""The sections of params.yaml as frozen records: unknown, missing and mistyped keys are errors naming the key."""

import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import pydantic
import yaml

from frostline import records
from frostline.errors import WrongUse
from frostline.params.shards import ShardParams
from frostline.params.sources import SourceParams
from frostline.params.stores import Address, StoreParams
from frostline.params.trainings import LaunchParams, StudentParams, TrainParams, TunedParams
from frostline.params.trajectories import TrajectoriesParams
from frostline.params.values import BucketName, Name, Positive, Share
from frostline.records import Record

MODELS = "models"  # the folder that the graph has models made in
LATENTS, TRAJECTORIES = "data/latents", "data/trajectories"  # those that it has rows made in


class CacheParams(Record):
    """How frozen latents are made and stored."""

    encode_batch: Positive  # items per VAE call, padded: results depend on it
    text_batch: Positive
    most_pixels: Positive  # of a frame that is encoded whole; larger ones go in windows of at most as many
    device: Literal["auto", "cpu", "cuda"]  # auto: a GPU if there is one; latents depend on it in their last bits
    threads: Positive  # of CPU; latents depend on it in their last bits
    encode_dtype: Literal["float32", "bfloat16"]
    stored_dtype: Literal["float32", "bfloat16"]
    preview_prompts: tuple[str, ...]  # encoded beside the captions, for the previews of trainings
    negative_prompt: Annotated[str, pydantic.Field(pattern=r"\S")] | None = None  # guidance's; None: the null prompt
    offload: bool = False  # the text encoder waits on the host, a block at a time on the GPU; what it gives is the same


class PreflightParams(Record):
    """Sizes of the checks before training."""

    statistics_rows: Positive
    roundtrip_rows: Positive
    reencode_rows: Positive
    minimum_psnr: float


class EvaluateParams(Record):
    """How finished models are judged."""

    samples: Annotated[dict[BucketName, Positive], pydantic.Field(min_length=1)]  # per model
    curve_steps: tuple[Positive, ...]  # quality is drawn against these numbers of steps
    curve_samples: Positive
    threads: Positive  # of CPU; samples depend on it in their last bits
    device: Literal["auto", "cpu", "cuda"] = "cpu"  # auto: a GPU if there is one; numbers depend on it a little
    offload: bool = False  # text encoder and models wait on the host, a block at a time on the GPU
    seed: int


class GateParams(Record):
    """What a model must reach to be registered."""

    minimum_accuracy: Share  # of samples whose digit is the one asked for, in every bucket that was judged
    minimum_direction: Share  # of clips that move the way they were asked to


class RegisterParams(Record):
    """Names and gates of the model registry."""

    prefix: str  # of the registered names: frostline-teacher
    alias: Name  # that moves to what was registered last
    gates: GateParams


class TrainSection(Record):
    """The trainings, by name; may be empty when the teacher is a pretrained model.

    ``launch`` and ``work`` are for all that train.
    """

    launch: LaunchParams
    work: Address | None = records.unsaid()  # s3://bucket/prefix that checkpoints are sent to as well
    runs: dict[Name, TrainParams]


class Params(Record):
    """The whole of params.yaml."""

    base: str
    sources: dict[Name, SourceParams]
    cache: CacheParams
    shard: ShardParams
    store: StoreParams
    preflight: PreflightParams
    train: TrainSection
    tuned: dict[Name, TunedParams]  # trainings that go on from a model's weights
    trajectories: dict[Name, TrajectoriesParams]  # what teachers are seen to do, for students of few steps
    students: dict[Name, StudentParams]
    evaluate: EvaluateParams
    register_: RegisterParams = pydantic.Field(alias="register")

    @pydantic.model_validator(mode="after")
    def _shares_of_sources(self) -> "Params":
        if unknown := sorted(set(self.shard.sources) - set(self.sources)):
            raise ValueError(f"shard.sources: {unknown} is no source; there are {sorted(self.sources)}")
        return self

    @pydantic.model_validator(mode="after")
    def _models_begin_elsewhere(self) -> "Params":
        tuned = {f"tuned.{name}.start": (name, run.start) for name, run in self.tuned.items()}
        begins = tuned | {f"students.{name}.teacher": (name, run.teacher) for name, run in self.students.items()}
        for key, (name, folder) in begins.items():
            if Path(os.path.normpath(folder)) == Path(MODELS, name):
                raise ValueError(f"{key}: {folder} is the folder it makes; name another model, or give it another name")
        return self

    @pydantic.model_validator(mode="after")
    def _students_learn_from_what_is_made(self) -> "Params":
        for name, student in self.students.items():
            follows = student.follows
            made = [f"{TRAJECTORIES}/{one}" for one in self.trajectories] if follows else [LATENTS]
            if student.data not in made:
                raise ValueError(
                    f"students.{name}.data: {student.data}, and {student.objective} learns from "
                    + (f"one of {made}" if made else f"{TRAJECTORIES}/NAME: add NAME to `trajectories`")
                )
            followed = self.followed_by(student)
            if followed and (unknown := sorted(set(student.buckets) - set(followed.rows))):
                raise ValueError(f"students.{name}.buckets: {unknown} is in none of the rows of {student.data}")
        return self

    def followed_by(self, student: StudentParams) -> TrajectoriesParams | None:
        """The trajectories a student learns from; None if it learns on latents."""
        return self.trajectories[Path(student.data).name] if student.follows else None

    def models(self, folder: str | Path) -> list[Path]:
        """The model folders these params make: trained, tuned, then students.

        Raises WrongUse for a folder there that no section names: what is left of old params must not be judged as new.
        """
        root, names = Path(folder), [*self.train.runs, *self.tuned, *self.students]
        unknown = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name not in names)
        if unknown:
            raise WrongUse(
                f"{root}: holds {unknown}, which params.yaml names nowhere; remove the folder or add its params"
            )
        return [root / name for name in names]

    def source(self, name: str) -> SourceParams:
        """One source; raises WrongUse for a name that is not there."""
        return _named(self.sources, name, "sources")

    def run(self, name: str) -> TrainParams:
        """One training; raises WrongUse for a name that is not there."""
        return _named(self.train.runs, name, "train.runs")

    def tuning(self, name: str) -> TunedParams:
        """One training that goes on from a model; raises WrongUse for a name that is not there."""
        return _named(self.tuned, name, "tuned")

    def followed(self, name: str) -> TrajectoriesParams:
        """Trajectories of one teacher; raises WrongUse for a name that is not there."""
        return _named(self.trajectories, name, "trajectories")

    def student(self, name: str) -> StudentParams:
        """One student; raises WrongUse for a name that is not there."""
        return _named(self.students, name, "students")


V = TypeVar("V")


def _named(section: dict[str, V], name: str, where: str) -> V:
    if name not in section:
        raise WrongUse(f"params.yaml: {where} has no '{name}'; it has {sorted(section)}")
    return section[name]


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check params.yaml; raises WrongUse naming the file and every wrong key."""
    try:
        values = yaml.safe_load(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise WrongUse(f"{path}: no such file; run the command in the project's folder or give --params") from None
    except yaml.YAMLError as error:
        raise WrongUse(f"{path}: not YAML: {error}") from None
    if not isinstance(values, dict):
        raise WrongUse(f"{path}: holds no sections; restore it with `git checkout {path}`")
    return records.parse(Params, values, origin=str(path))
