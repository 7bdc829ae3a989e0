"""The sections of params.yaml as frozen records: unknown, missing and mistyped keys are errors naming the key."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import pydantic
import yaml

from frostline import records
from frostline.errors import WrongUse
from frostline.records import Record

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


class DrawParams(Record):
    """How often each scan is drawn at one length."""

    frames: Frames  # 1 is an image
    per_scan: Positive


class DigitsParams(Record):
    """The embedded digits."""

    kind: Literal["digits"]
    path: str  # the file that draws them: a dependency like any other data
    size: Positive  # pixels per side
    draws: tuple[DrawParams, ...]

    @pydantic.model_validator(mode="after")
    def lengths_differ(self) -> "DigitsParams":
        """Refuse no draws, and a length that is given twice."""
        lengths = [draw.frames for draw in self.draws]
        if not lengths or len(set(lengths)) < len(lengths):
            raise ValueError(f"draws name the lengths {lengths}; give at least one, and each once")
        return self


class SplitParams(Record):
    """Shares of source items held out, dealt by a digest of (seed, item)."""

    seed: int
    validation: Share
    test: Share

    @pydantic.model_validator(mode="after")
    def train_remains(self) -> "SplitParams":
        """Refuse shares that leave nothing to train on."""
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on; their sum must be below 1")
        return self


class WorldDraw(Record):
    """How many scenes of the world are drawn at one length."""

    frames: Frames  # 1 is an image
    scenes: Positive


class WorldParams(Record):
    """The embedded rendered world: shapes in colours, textures and motions, each scene drawn from its number."""

    kind: Literal["world"]
    path: str  # the folder of what draws it: a dependency like any other data
    size: Annotated[int, pydantic.Field(ge=64, le=96, multiple_of=8)]  # pixels per side
    first: Count  # number of the first scene
    draws: Annotated[tuple[WorldDraw, ...], pydantic.Field(min_length=1)]
    split: SplitParams  # of the scenes that are not of a held-out combination; those are all in test

    @pydantic.model_validator(mode="after")
    def lengths_differ(self) -> "WorldParams":
        """Refuse a length that is given twice."""
        lengths = [draw.frames for draw in self.draws]
        if len(set(lengths)) < len(lengths):
            raise ValueError(f"draws name the lengths {lengths}; give each once")
        return self


class GridParams(Record):
    """Buckets of about one area in several aspects, for each number of frames."""

    area: Positive  # pixels of a frame
    step: Positive  # sides are multiples of it: stride of the VAE x patch size
    aspects: Annotated[tuple[tuple[Positive, Positive], ...], pydantic.Field(min_length=1)]  # width : height
    frames: Annotated[tuple[Frames, ...], pydantic.Field(min_length=1)]


class SceneParams(Record):
    """Where a clip is cut, found by PySceneDetect's content detector (extra `scenes`)."""

    threshold: Rate  # of its score; 27 is its own default
    minimum_frames: Positive  # of a scene, in source frames


class ClipParams(Record):
    """Which frames of a clip are seen: scenes, then the rate, then windows within a scene."""

    fps: Rate | None  # what a clip is resampled to; null takes the frames as they are
    scene_cuts: SceneParams | None  # null: a clip is one scene
    use_sliding_window: bool  # a window every window_stride frames, else windows_per_scene by window_choice
    window_stride: Positive  # in frames after resampling
    window_choice: Literal["first", "middle", "uniform"]
    windows_per_scene: Positive  # of the choice "uniform"
    max_frames: Positive  # in a file; a longer one is left out before it is decoded to the end


class CropParams(Record):
    """Which part of a frame is taken, where its aspect is not its bucket's."""

    place: Literal["centre", "random"]  # random: drawn for (seed, item)
    seed: int
    flip: bool  # a mirrored copy of every row, as a row of its own


class FilterParams(Record):
    """What is left out, and why. A minimum of zero turns one off. Units are those of frostline/media/measures.py."""

    minimum_side: Count  # pixels of the shorter side                                    too_small
    minimum_seconds: Annotated[float, pydantic.Field(ge=0)]  # of a clip that names its rate  too_short
    minimum_motion: Annotated[float, pydantic.Field(ge=0)]  # mean change between frames        static
    minimum_brightness: Annotated[float, pydantic.Field(ge=0)]  # of the brightest parts        black
    minimum_sharpness: Annotated[float, pydantic.Field(ge=0)]  # deviation of the Laplacian     blurred
    caption_characters: tuple[Count, Positive]  # fewest and most          caption_too_short, caption_too_long
    duplicate_distance: Annotated[int, pydantic.Field(ge=0, le=16)]  # bits of 64, 0: copies alone; in one split
    keep_duplicates: bool  # or else one of them is kept                                 near_duplicate


class CommandCaptioner(Record):
    """A program that captions: one JSON object a line in, one a line out (docs/data.md)."""

    command: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]


class ModelCaptioner(Record):
    """A vision-language model in a local folder, in the layout of transformers."""

    model: str
    prompt: str
    max_new_tokens: Positive


class MediaParams(Record):
    """What is done with media, wherever they and their captions come from."""

    path: str  # a local path or s3://bucket/prefix
    buckets: Annotated[tuple[Bucket, ...], pydantic.Field(min_length=1)] | GridParams
    clips: ClipParams
    crop: CropParams
    filters: FilterParams
    captioner: CommandCaptioner | ModelCaptioner | None  # fills captions that are missing
    split: SplitParams
    max_pixels: Annotated[int, pydantic.Field(gt=0, le=89_000_000)]  # in an image or frame; Pillow's own limit is above
    max_rejected: Share  # of the items; more of them fail the stage


class FolderParams(MediaParams):
    """A folder of images, clips, or frame folders, described by its metadata.jsonl or metadata.csv."""

    kind: Literal["imagefolder", "videofolder", "frames"]
    caption: str  # the key of the metadata that holds the caption, "text" by custom

    @pydantic.model_validator(mode="after")
    def buckets_can_be_filled(self) -> "FolderParams":
        """Refuse buckets that no item of this kind can ever take."""
        images = self.kind == "imagefolder"
        frames = self.buckets.frames if isinstance(self.buckets, GridParams) else [bucket[0] for bucket in self.buckets]
        idle = [count for count in frames if (count == 1) != images]
        if idle and (images or len(idle) < len(frames)):
            what = "images take buckets of 1 frame" if images else "clips take buckets of 5 frames or more, if any has"
            raise ValueError(f"{what}: nothing would ever fill one of {idle[0]} frame(s); remove it")
        return self


class SidecarParams(MediaParams):
    """A folder of images and clips, each with its caption in a text file beside it."""

    kind: Literal["sidecar"]
    extension: Annotated[str, pydantic.Field(pattern=r"^\.[A-Za-z0-9._-]+$")]  # of the captions, ".txt" by custom
    lines: Literal["one_caption", "a_caption_each"]


class TableParams(MediaParams):
    """A table of media and captions (parquet, CSV, JSON lines); names are relative to its folder or absolute."""

    kind: Literal["table"]
    media: str  # column with the path of the media
    captions: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]  # columns with captions, of equal weight
    item: str | None  # column that names what the media were cut from


class WebDatasetParams(MediaParams):
    """A folder of WebDataset tar shards: files of one stem are one sample."""

    kind: Literal["webdataset"]
    caption: str  # extension of the caption's member, "txt", or of a JSON member and its key, "json:caption"


class FastVideoParams(MediaParams):
    """A folder with FastVideo's videos2caption.json."""

    kind: Literal["fastvideo"]
    media: str  # folder of the clips, relative to the path: "videos" by custom


class PromptsParams(Record):
    """Captions without media, for distillation from a teacher alone: a text file, one prompt a line."""

    kind: Literal["prompts"]
    path: str
    split: SplitParams


AnyMediaParams = FolderParams | SidecarParams | TableParams | WebDatasetParams | FastVideoParams
SourceParams = Annotated[
    DigitsParams | WorldParams | AnyMediaParams | PromptsParams, pydantic.Field(discriminator="kind")
]


class CacheParams(Record):
    """How frozen latents are made and stored."""

    encode_batch: Positive  # items per VAE call, padded: results depend on it
    text_batch: Positive
    threads: Positive  # of CPU; latents depend on it in their last bits
    stored_dtype: Literal["float32", "bfloat16"]
    preview_prompts: tuple[str, ...]  # encoded beside the captions, for the previews of trainings


class PreflightParams(Record):
    """Sizes of the checks before training."""

    statistics_rows: Positive
    roundtrip_rows: Positive
    reencode_rows: Positive
    minimum_psnr: float


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


BucketName = Annotated[str, pydantic.Field(pattern=r"^[1-9][0-9]*x[1-9][0-9]*x[1-9][0-9]*$")]  # 5x32x32


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


class EvaluateParams(Record):
    """How finished models are judged."""

    samples: Annotated[dict[BucketName, Positive], pydantic.Field(min_length=1)]  # per model
    curve_steps: tuple[Positive, ...]  # quality is drawn against these numbers of steps
    curve_samples: Positive
    threads: Positive  # of CPU; samples depend on it in their last bits
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
    """The trainings, by name; may be empty when the teacher is a pretrained model."""

    runs: dict[Name, TrainParams]


class Params(Record):
    """The whole of params.yaml."""

    base: str
    sources: dict[Name, SourceParams]
    cache: CacheParams
    preflight: PreflightParams
    train: TrainSection
    students: dict[Name, StudentParams]
    evaluate: EvaluateParams
    register_: RegisterParams = pydantic.Field(alias="register")

    def models(self, folder: str | Path) -> list[Path]:
        """The model folders these params make, trainings before students.

        Raises WrongUse for a folder there that neither names: what is left of old params must not be judged as new.
        """
        root, names = Path(folder), [*self.train.runs, *self.students]
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
