"""Dataset configs of diffusion-pipe, as its examples/dataset.toml and utils/dataset.py say.

    resolutions      sides of squares, or [width, height]: areas. Every item is trained on at every one of them, which
                     takes a source each, because an item gives rows of one size in a source
    ar_buckets       width / height, or num_ar_buckets of them from min_ar to max_ar, evenly in the logarithm
    size_buckets     [width, height, frames], instead of all these
    frame_buckets    a clip takes the longest it fills, as here; 1 is always there and is for images alone
A [[directory]] may say any of them anew. Clips are resampled to the model's rate: 16 for Wan, 24 for its 5B.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import pydantic

from frostline import records
from frostline.errors import WrongUse
from frostline.importing import sections
from frostline.importing.sections import STRIDE, WAN_FPS, Draft, Imported, Refusal, Size
from frostline.params.values import Frames, Positive, Rate
from frostline.records import Record

CAPTIONS = "captions.json"
WORDS = "captions are trained on as they are written; put it into the caption files"
MASK = "masks of the loss have no counterpart here; import a dataset without them"
SHUFFLED = "captions are trained on as they are written, tags are not shuffled; remove the key"
REFUSED = {
    "num_repeats": Refusal(1, sections.REPEATED),
    "mask_path": Refusal(None, MASK),
    "default_mask_file": Refusal(None, MASK),
    "control_path": Refusal(None, "control images are not trained on here; import a dataset without them"),
    "caption_prefix": Refusal("", WORDS),
    "shuffle_tags": Refusal(False, SHUFFLED),
    "cache_shuffle_num": Refusal(0, SHUFFLED),
    "skip_empty_caption": Refusal(True, "a medium without a caption is left out here; give it one, or set a captioner"),
    "online_captions": Refusal(False, f"captions of {CAPTIONS} are not read; write a text file beside each medium"),
    "subsample_ratio": Refusal(1.0, "a part of the data cannot be asked for; keep that part in a folder of its own"),
}
IGNORED = {
    "shuffle_metadata": "rows are dealt anew in every epoch, by the training's seed; their order here means nothing",
    "cache_shuffle_delimiter": "it only matters where tags are shuffled, and none are",
}


def _side(value: Any) -> Any:
    """The side of the square of the same area, as finely as the tool has it."""
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(one, int) and one > 0 for one in value):
        return round(math.sqrt(value[0] * value[1]), 3)
    return value


def _aspect(value: Any) -> Any:
    """Width / height of a pair."""
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(one, int) and one > 0 for one in value):
        return value[0] / value[1]
    return value


class Buckets(Record):
    """What the file says for all directories, and each directory for itself."""

    resolutions: tuple[Annotated[Rate, pydantic.BeforeValidator(_side)], ...] = ()
    enable_ar_bucket: bool = False
    min_ar: Rate | None = None
    max_ar: Rate | None = None
    num_ar_buckets: Positive | None = None
    ar_buckets: tuple[Annotated[Rate, pydantic.BeforeValidator(_aspect)], ...] = ()
    size_buckets: tuple[tuple[Positive, Positive, Frames], ...] = ()  # width, height, frames
    frame_buckets: tuple[Frames, ...] = (1,)


class Directory(Buckets):
    """[[directory]], with what the file says for all."""

    path: str


class Config(Record):
    """The tables of the file."""

    directory: Annotated[tuple[dict[str, Any], ...], pydantic.Field(min_length=1)]


def read(config: Path) -> Imported:
    """The sources of a config; raises WrongUse naming every key that cannot be honoured."""
    values = sections.toml(config)
    if "dataset" in values and "directory" not in values:
        message = "this is the config of a training; import the dataset config that the key names"
        raise WrongUse(f"{config}: key 'dataset' has the value {values['dataset']!r}: {message}")
    records.parse(Config, {key: values[key] for key in values if key == "directory"}, origin=str(config))
    shared, directories = sections.honoured(values, {"directory": ""}), values["directory"]
    places = {"": shared} | {f"directory.{number}.": one for number, one in enumerate(directories)}
    draft = Draft(config)
    draft.sift(places, REFUSED, IGNORED)
    shared = sections.honoured(shared, IGNORED, REFUSED)
    records.parse(Buckets, shared, origin=str(config))
    for number, one in enumerate(directories):
        where = f"directory.{number}"
        merged = shared | sections.honoured(one, IGNORED, REFUSED)
        _add(draft, records.parse(Directory, merged, origin=str(config), prefix=where), where)
    return draft.done()


def _add(draft: Draft, directory: Directory, where: str) -> None:
    """The sources of one directory."""
    listed = Path(directory.path) / CAPTIONS
    if listed.is_file():
        raise WrongUse(
            f"{draft.config}: key '{where}.path' has the value {directory.path!r}: {listed} is there, and the"
            " tool reads the captions from it; write a text file beside each medium and move it away"
        )
    origin = sections.sidecar(directory.path, ".txt")
    if directory.size_buckets:
        _require_one_order(draft.config, directory, where)
        sized = [[frames, _stepped(height), _stepped(width)] for width, height, frames in directory.size_buckets]
        draft.add(directory.path, "", _section(draft, origin, sized))
        return
    _require_sizes(draft.config, directory, where)
    sides = sorted(set(directory.resolutions))
    if len(sides) > 1:
        draft.note("resolutions", "an item gives rows at every one of them there; here that takes a source for each")
    lengths = sorted({1, *directory.frame_buckets})
    for side in sides:
        suffix = f"-{side:.0f}px" if len(sides) > 1 else ""
        sizes = list(dict.fromkeys(_size(side, aspect) for aspect in _aspects(directory)))
        draft.add(directory.path, suffix, _section(draft, origin, sections.buckets(sizes, lengths)))


def _section(draft: Draft, origin: dict[str, Any], buckets: list[list[int]]) -> dict[str, Any]:
    """A source; its buckets of 1 frame are for images alone, here as there."""
    if all(frames == 1 for frames, _, _ in buckets):
        return sections.section(origin, buckets)
    draft.note("frame_buckets", f"clips come to {WAN_FPS:g} fps, as for Wan there; Wan 2.2 5B: 24 fps, sides in 32")
    draft.note("clips.window_choice", "first, as by video_clip_mode's default; middle is its single_middle")
    return sections.section(origin, buckets, fps=WAN_FPS)


def _require_one_order(config: Path, directory: Directory, where: str) -> None:
    """Refuse sizes of which the tool would choose by aspect first, where here the length comes first."""
    aspects: dict[int, set[float]] = {}
    for width, height, frames in directory.size_buckets:
        aspects.setdefault(frames, set()).add(width / height)
    clips = [found for frames, found in aspects.items() if frames > 1]
    if any(found != clips[0] for found in clips):
        value = [list(size) for size in directory.size_buckets]
        why = "a clip takes the longest bucket it fills here, there the one nearest in aspect"
        raise WrongUse(
            f"{config}: key '{where}.size_buckets' has the value {value}: {why}; give every length the same aspects"
        )


def _require_sizes(config: Path, directory: Directory, where: str) -> None:
    """Refuse a directory that does not say how large its items become."""
    needed = ["resolutions"]
    if directory.enable_ar_bucket and not directory.ar_buckets:
        needed += ["min_ar", "max_ar", "num_ar_buckets"]
    given = directory.model_dump()
    missing = [f"missing key '{key}' for '{where}': add it, there or for all" for key in needed if not given[key]]
    sections.require_none(config, missing)


def _aspects(directory: Directory) -> list[float]:
    """Width / height of the buckets, as finely as the tool has them."""
    if not directory.enable_ar_bucket:
        return [1.0]
    low, high, count = directory.min_ar or 1.0, directory.max_ar or 1.0, directory.num_ar_buckets or 1
    spaced = [low * (high / low) ** (number / max(count - 1, 1)) for number in range(count)]
    return sorted({round(aspect, 3) for aspect in directory.ar_buckets or spaced})


def _size(side: float, aspect: float) -> Size:
    """Width and height of about an area and an aspect."""
    width = side * math.sqrt(aspect)
    return _stepped(width), _stepped(side**2 / width)


def _stepped(side: float) -> int:
    """To the nearest multiple of what Wan's VAE and patches take, as the tool rounds."""
    return round(side / STRIDE) * STRIDE
