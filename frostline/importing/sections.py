"""What the importers share: reading TOML, refusing keys, and sections that leave out no more than they must."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from frostline import records
from frostline.errors import WrongUse
from frostline.params.sources import AnyMediaParams, SidecarParams, TableParams

STRIDE = 16  # sides are multiples of it: Wan's VAE stride 8 x patch 2
WAN_FPS = 16.0
ANY_LENGTH = 1_000_000  # frames of a clip: none is left out for its length
MAX_PIXELS = 89_000_000
SPLIT = {"seed": 0, "validation": 0.05, "test": 0.05}
CROP = {"place": "centre", "seed": 0, "flip": False}
OFF = {
    "minimum_side": 0,
    "minimum_seconds": 0.0,
    "minimum_motion": 0.0,
    "minimum_brightness": 0.0,
    "minimum_sharpness": 0.0,
    "caption_characters": [0, 1_000_000],
    "duplicate_distance": 0,
    "keep_duplicates": True,
}
REPEATED = "rows are never repeated here, so it cannot weigh a dataset; write 1, and weigh by `buckets` of the training"
NOTES = {
    "split": "the tool trains on every item; here 5 % are held out for validation and 5 % for test, because a training"
    " without held-out rows is refused. An item is in the same split in every source of the same seed and shares.",
    "max_rejected": "0, so `prepare` fails if it must leave anything out, and names it: what has no caption,"
    " images among clips and clips among images (no_bucket), which the tool passes over, and what is smaller than its"
    " bucket (too_small), which it enlarges or trains on as it is. Raise max_rejected once you have seen what that is.",
    "path": "is taken over as written; where it is relative it is meant from the project's folder. A folder is read"
    " with all folders in it, the tool reads only the files directly inside: keep its caches, masks and controls out.",
}
Size = tuple[int, int]  # width, height


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The sources of a config, by name, and what is to be said about them."""

    sources: dict[str, AnyMediaParams]
    notes: tuple[str, ...]


class Refusal(NamedTuple):
    """Why a key cannot be honoured, unless it has the value that changes nothing."""

    harmless: Any
    why: str


class Draft:
    """What is read of a config: sources under names of their own, each note once."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.sources: dict[str, AnyMediaParams] = {}
        self.notes: dict[str, None] = {}

    def add(self, path: str, suffix: str, section: Mapping[str, Any]) -> None:
        """Check a section and give it a name made of its path."""
        cls = TableParams if section["kind"] == "table" else SidecarParams
        made = records.parse(cls, section, origin=str(self.config), prefix=f"the source made of {path}")
        self.sources[self._name(path, suffix)] = made

    def sift(
        self, tables: Mapping[str, Mapping[str, Any]], refusals: Mapping[str, Refusal], ignored: Mapping[str, str]
    ) -> None:
        """Refuse what cannot be honoured in tables, by the place of each in the file; note which keys are ignored.

        Raises WrongUse naming every refused key.
        """
        require_none(self.config, [one for where in tables for one in _refused(tables[where], where, refusals)])
        for key in dict.fromkeys(key for table in tables.values() for key in table if key in ignored):
            self.note(key, ignored[key])

    def note(self, key: str, text: str) -> None:
        """Say something about a key."""
        self.notes[f"{key}: {text}"] = None

    def done(self) -> Imported:
        """All that was read."""
        for key, text in NOTES.items():
            self.note(key, text)
        return Imported(sources=self.sources, notes=tuple(self.notes))

    def _name(self, path: str, suffix: str) -> str:
        last = PurePosixPath(path.replace("\\", "/")).name.lower().removesuffix(".jsonl")
        name = (re.sub(r"[^a-z0-9]+", "-", last).strip("-") or "dataset") + suffix
        copies = (name if copy == 1 else f"{name}-{copy}" for copy in range(1, len(self.sources) + 2))
        return next(one for one in copies if one not in self.sources)


def toml(path: Path) -> dict[str, Any]:
    """A TOML file's values; raises WrongUse if it is absent or not TOML."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError):
        raise WrongUse(f"{path}: no such file; name the tool's dataset config") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise WrongUse(f"{path}: not TOML: {error}") from None


def _refused(table: Mapping[str, Any], where: str, refusals: Mapping[str, Refusal]) -> Iterator[str]:
    """What is wrong with a table's keys, one line each."""
    for key, value in table.items():
        if key in refusals and value != refusals[key].harmless:
            yield f"key '{where}{key}' has the value {value!r}: {refusals[key].why}"


def require_none(config: Path, problems: Sequence[str]) -> None:
    """Raise WrongUse if there are problems."""
    if problems:
        raise WrongUse(f"{config}: " + "; ".join(problems))


def honoured(table: Mapping[str, Any], *others: Mapping[str, object]) -> dict[str, Any]:
    """A table without the keys that mean nothing here."""
    return {key: value for key, value in table.items() if not any(key in other for other in others)}


def sidecar(path: str, extension: str) -> dict[str, Any]:
    """Where media and captions are: a folder with a text file beside each medium."""
    return {"kind": "sidecar", "path": path, "extension": extension, "lines": "one_caption"}


def table(path: str, media: str, caption: str) -> dict[str, Any]:
    """Where media and captions are: a table."""
    return {"kind": "table", "path": path, "media": media, "captions": [caption], "item": None}


def section(origin: Mapping[str, Any], buckets: object, **clips: Any) -> dict[str, Any]:
    """A source that leaves out only what its buckets cannot hold."""
    return {
        **origin,
        "buckets": buckets,
        "clips": {
            "fps": None,
            "scene_cuts": None,
            "use_sliding_window": False,
            "window_stride": 1,
            "window_choice": "first",
            "windows_per_scene": 1,
            "max_frames": ANY_LENGTH,
        }
        | clips,
        "crop": CROP,
        "filters": OFF,
        "captioner": None,
        "split": SPLIT,
        "max_pixels": MAX_PIXELS,
        "max_rejected": 0.0,
    }


def buckets(sizes: Sequence[Size], lengths: Sequence[int]) -> list[list[int]]:
    """Every size at every length."""
    return [[frames, height, width] for frames in lengths for width, height in sizes]
