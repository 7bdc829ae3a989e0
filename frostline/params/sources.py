"""The section ``sources``: where rows come from, and what is done with media on the way."""

from typing import Annotated, Literal

import pydantic

from frostline.params.values import Bucket, Count, Frames, Positive, Rate, Share
from frostline.records import Record


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
    minimum_motion: Annotated[float, pydantic.Field(ge=0)]  # mean change between looks         static
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
