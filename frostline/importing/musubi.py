"""Dataset configs of musubi-tuner: [general] and [[datasets]], as its docs/dataset_config.md and config_utils.py say.

resolution       [width, height]; with enable_bucket an area: widths from half its root up in steps of 16, each with
                 the height that fills the area, and the same turned
target_frames    every clip gives rows of every length: a source each, because a source gives rows of one
frame_extraction head: the first window; chunk: windows side by side; slide: one every frame_stride frames;
                 uniform: frame_sample of them from first to last; full: the clip's own length, 4n + 1, to max_frames
source_fps       what the clips are said to have: frames are dropped to come to Wan's 16; without it all are taken
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from frostline import records
from frostline.errors import WrongUse
from frostline.importing import sections
from frostline.importing.sections import STRIDE, WAN_FPS, Draft, Imported, Refusal, Size
from frostline.params.values import Frames, Positive, Rate
from frostline.records import Record

CONTROL = "control images and clips are not trained on here; import a dataset without them"
ONE_FRAME = "FramePack's training on single frames has no counterpart here; remove the key"
REFUSED = {
    "control_directory": Refusal(None, CONTROL),
    "control_resolution": Refusal(None, CONTROL),
    "no_resize_control": Refusal(False, CONTROL),
    "flux_kontext_no_resize_control": Refusal(False, CONTROL),
    "qwen_image_edit_no_resize_control": Refusal(False, CONTROL),
    "qwen_image_edit_control_resolution": Refusal(None, CONTROL),
    "multiple_target": Refusal(False, "images of several layers are not trained on here; remove the key"),
    "num_repeats": Refusal(1, sections.REPEATED),
    "fp_1f_clean_indices": Refusal(None, ONE_FRAME),
    "fp_1f_target_index": Refusal(None, ONE_FRAME),
    "fp_1f_no_post": Refusal(False, ONE_FRAME),
}
IGNORED = {
    "batch_size": "a training has its own rows per step for every bucket; what is in the rows does not change",
    "cache_directory": "latents are kept by what they were made of, in data/latents; nothing is written beside media",
    "fp_latent_window_size": "only FramePack reads it; Wan has no such window",
}
LISTED = 128  # buckets; more of them are written as a grid


def _pair(value: Any) -> Any:
    """One side is a square."""
    return (value, value) if isinstance(value, int) else value


class General(Record):
    """[general]: what a dataset does not say itself."""

    resolution: Annotated[tuple[Positive, Positive], pydantic.BeforeValidator(_pair)] = (960, 544)  # width, height
    caption_extension: str | None = None
    enable_bucket: bool = False
    bucket_no_upscale: bool = False


class Images(General):
    """[[datasets]] of images."""

    image_directory: str | None = None
    image_jsonl_file: str | None = None


class Videos(General):
    """[[datasets]] of clips."""

    video_directory: str | None = None
    video_jsonl_file: str | None = None
    target_frames: Annotated[tuple[Frames, ...], pydantic.Field(min_length=1)] = (1,)
    frame_extraction: Literal["head", "chunk", "slide", "uniform", "full"] = "head"
    frame_stride: Positive = 1
    frame_sample: Positive = 1
    max_frames: Positive = 129
    source_fps: Rate | None = None


class Config(Record):
    """The file."""

    general: dict[str, Any] = pydantic.Field(default_factory=dict)
    datasets: Annotated[tuple[dict[str, Any], ...], pydantic.Field(min_length=1)]


def read(config: Path) -> Imported:
    """The sources of a config; raises WrongUse naming every key that cannot be honoured."""
    values = sections.toml(config)
    records.parse(Config, values, origin=str(config))
    general, datasets = values.get("general", {}), values["datasets"]
    places = {"general.": general} | {f"datasets.{number}.": dataset for number, dataset in enumerate(datasets)}
    draft = Draft(config)
    draft.sift(places, REFUSED, IGNORED)
    shared = sections.honoured(general, IGNORED, REFUSED)
    records.parse(General, shared, origin=str(config), prefix="general")
    for number, dataset in enumerate(datasets):
        _add(draft, shared | sections.honoured(dataset, IGNORED, REFUSED), f"datasets.{number}")
    return draft.done()


def _add(draft: Draft, values: dict[str, Any], where: str) -> None:
    """The sources of one dataset."""
    clips = "video_directory" in values or "video_jsonl_file" in values
    dataset = records.parse(Videos if clips else Images, values, origin=str(draft.config), prefix=where)
    origin = _origin(draft, dataset, where)
    sizes = _sizes(dataset, draft.config, where)
    if isinstance(dataset, Images):
        draft.add(origin["path"], "", sections.section(origin, sections.buckets(sizes, [1])))
    else:
        _add_videos(draft, dataset, origin, sizes, where)
    if dataset.enable_bucket and dataset.bucket_no_upscale:
        draft.note(
            "bucket_no_upscale", "nothing is enlarged here; smaller is left out (too_small), there kept as it is"
        )


def _origin(draft: Draft, dataset: Images | Videos, where: str) -> dict[str, Any]:
    """Where a dataset's media and captions are."""
    medium = "image" if isinstance(dataset, Images) else "video"
    given = {key: value for key, value in dataset if key.endswith(("_directory", "_jsonl_file")) and value is not None}
    if len(given) != 1:
        wanted = "one of image_directory, image_jsonl_file, video_directory, video_jsonl_file"
        raise WrongUse(f"{draft.config}: missing key: '{where}' names {wanted} and no other; it has {sorted(given)}")
    [(key, path)] = given.items()
    if key.endswith("_jsonl_file"):
        _require_plain(Path(path), medium)
        draft.note(key, "names in the file that are relative are meant from its own folder, there from where it ran")
        return sections.table(path, f"{medium}_path", "caption")
    if dataset.caption_extension is None:
        raise WrongUse(f"{draft.config}: missing key '{where}.caption_extension': add it, \".txt\" by custom")
    return sections.sidecar(path, dataset.caption_extension)


def _require_plain(path: Path, medium: str) -> None:
    """Refuse a table, where it is at hand, whose lines name more than a medium and its caption."""
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            for key in _keys(line):
                if key.startswith(("control_path", f"{medium}_path_")):
                    why = CONTROL if key.startswith("control") else REFUSED["multiple_target"].why
                    raise WrongUse(f"{path}:{number}: key '{key}': {why}")


def _keys(line: bytes) -> list[str]:
    """Keys of a line of JSON; what is no JSON is for `prepare` to refuse."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return list(values) if isinstance(values, dict) else []


def _sizes(dataset: Images | Videos, config: Path, where: str) -> list[Size]:
    """Width and height of the tool's buckets."""
    width, height = dataset.resolution
    if not dataset.enable_bucket:
        if width % STRIDE or height % STRIDE:
            near = [width - width % STRIDE, height - height % STRIDE]
            message = f"sides are multiples of {STRIDE}, the VAE's stride times Wan's patch: {near}"
            raise WrongUse(f"{config}: key '{where}.resolution' has the value {[width, height]}: {message}")
        return [(width, height)]
    root = int(math.sqrt(width * height))
    wide = range(max(root // 2 // STRIDE, 1) * STRIDE, root + STRIDE, STRIDE)
    upright = [(side, width * height // side // STRIDE * STRIDE) for side in wide]
    return sorted({size for one, two in upright for size in ((one, two), (two, one)) if min(size) > 0})


def _add_videos(draft: Draft, dataset: Videos, origin: dict[str, Any], sizes: list[Size], where: str) -> None:
    """A source for every length; one with all lengths where a clip keeps its own."""
    fps, path = _fps(draft, dataset), origin["path"]
    lengths = _lengths(draft, dataset, where)
    if dataset.frame_extraction == "full":
        draft.add(path, "", sections.section(origin, _buckets(dataset, sizes, lengths), fps=fps))
    elif len(lengths) > 1:
        draft.note("target_frames", "a clip gives rows of every length there; here that takes a source for each")
        for length in lengths:
            draft.add(path, f"-{length}f", _windowed(dataset, origin, sizes, length, fps))
    else:
        draft.add(path, "", _windowed(dataset, origin, sizes, lengths[0], fps))


def _lengths(draft: Draft, dataset: Videos, where: str) -> list[int]:
    """Numbers of frames of the rows; refuses `full` clips of less than five, which would be single frames."""
    full = dataset.frame_extraction == "full"
    lengths = list(range(5, dataset.max_frames + 1, 4)) if full else sorted(set(dataset.target_frames))
    if not lengths:
        why = "a clip taken in full gives rows of 5 frames or more here; give 5 or more, or target_frames = [1]"
        raise WrongUse(f"{draft.config}: key '{where}.max_frames' has the value {dataset.max_frames}: {why}")
    if full:
        draft.note(
            "frame_extraction", "full takes 1 frame of a clip of 2 to 4; here such a clip is left out (too_short)"
        )
    return lengths


def _windowed(
    dataset: Videos, origin: dict[str, Any], sizes: list[Size], length: int, fps: float | None
) -> dict[str, Any]:
    """The source of the windows of one length."""
    windows = dict(_windows(dataset, length))
    return sections.section(origin, sections.buckets(sizes, [length]), fps=fps, **windows)


def _windows(dataset: Videos, length: int) -> Iterator[tuple[str, Any]]:
    """Which parts of a clip become rows."""
    if dataset.frame_extraction in {"chunk", "slide"}:
        yield "use_sliding_window", True
        yield "window_stride", length if dataset.frame_extraction == "chunk" else dataset.frame_stride
    elif dataset.frame_extraction == "uniform" and dataset.frame_sample > 1:  # one is the head, there too
        yield "window_choice", "uniform"
        yield "windows_per_scene", dataset.frame_sample


def _fps(draft: Draft, dataset: Videos) -> float | None:
    """The rate clips are resampled to; none where the tool takes the frames as they are."""
    if dataset.source_fps is None:
        draft.note("source_fps", "not given, so all frames are taken, whatever their rate, as there: clips.fps null")
        return None
    if dataset.source_fps < WAN_FPS:
        draft.note("source_fps", f"below {WAN_FPS:g}, where the tool drops nothing: clips.fps null")
        return None
    times = "by the times in each file, there as if every file had source_fps"
    differ = "where a file has, the frames shown differ by one of its own at most"
    draft.note("source_fps", f"clips are resampled to {WAN_FPS:g} fps, Wan's, {times}; {differ}")
    return WAN_FPS


def _buckets(dataset: Videos, sizes: list[Size], lengths: list[int]) -> object:
    """Every size at every length, as a grid if a list would be long."""
    area = dataset.resolution[0] * dataset.resolution[1]
    aspects = [_aspect(size, area) for size in sizes]
    if len(sizes) * len(lengths) <= LISTED or None in aspects:
        return sections.buckets(sizes, lengths)
    return {"area": area, "step": STRIDE, "aspects": aspects, "frames": lengths}


def _aspect(size: Size, area: int) -> tuple[int, int] | None:
    """The aspect, in thousandths, of which a grid of that area rounds to this very size; None if there is none."""
    width, height = size
    half = STRIDE / 2
    low = max((width - half) ** 2 / area, area / (height + half) ** 2)
    high = min((width + half) ** 2 / area, area / (height - half) ** 2)
    middle = round(1000 * math.sqrt(low * high))
    return (middle, 1000) if low < middle / 1000 < high else None
