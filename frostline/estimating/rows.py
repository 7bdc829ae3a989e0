"""How many rows the sources have: by the index of caches, by manifests, or as many as somebody says."""

import collections
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline import files
from frostline.errors import WrongUse
from frostline.params.sources import DigitsParams, PromptsParams, SourceParams, WorldParams
from frostline.sources import buckets as choosing
from frostline.store import layout

Bucket = tuple[int, int, int]
PROMPTS = "prompts"  # rows without media, in manifests of caches


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one source."""

    source: str
    buckets: Mapping[Bucket, int]
    prompts: int  # captions without media
    origin: str

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.buckets.values()) + self.prompts


def of_source(name: str, params: SourceParams, index: Path, manifests: Path, given: int | None) -> Rows:
    """The rows of a source; ``given`` holds where nothing was prepared or cached.

    Raises WrongUse where none of the three says.
    """
    if given is not None and given < 1:
        raise WrongUse(f"--rows {given}: at least 1")
    manifest = manifests / name / "manifest.json"
    if manifest.is_file():
        return _of_manifest(name, files.read_json(manifest), str(manifest))
    cached = files.read_json(index)["sources"] if index.is_file() else {}
    if name in cached:
        return _of_cache(name, cached[name]["rows"], str(index))
    if given is None:
        raise WrongUse(
            f"rows of source {name}: neither {manifest} nor {index} is there to count them in; run "
            f"`dvc repro prepare@{name}`, or say how many with --rows"
        )
    return _given(name, params, given)


def _of_manifest(name: str, manifest: Mapping[str, Any], origin: str) -> Rows:
    counts = {bucket: sum(by_split.values()) for bucket, by_split in manifest["buckets"].items()}
    return _counted(name, counts, origin)


def _of_cache(name: str, rows: Mapping[str, int], origin: str) -> Rows:
    counts: collections.Counter[str] = collections.Counter()
    for key, count in rows.items():
        counts[key.rpartition("/")[0]] += count
    return _counted(name, counts, origin)


def _counted(name: str, counts: Mapping[str, int], origin: str) -> Rows:
    media = {layout.bucket_of(bucket): count for bucket, count in counts.items() if bucket not in (PROMPTS, "0x0x0")}
    return Rows(source=name, buckets=media, prompts=sum(counts.values()) - sum(media.values()), origin=origin)


def _given(name: str, params: SourceParams, count: int) -> Rows:
    """So many rows, dealt evenly to the buckets that params name."""
    if isinstance(params, PromptsParams):
        return Rows(source=name, buckets={}, prompts=count, origin="--rows")
    found = _buckets(params)
    each, more = divmod(count, len(found))
    dealt = {bucket: each + (number < more) for number, bucket in enumerate(found)}
    return Rows(source=name, buckets=dealt, prompts=0, origin="--rows, dealt evenly to its buckets")


def _buckets(params: SourceParams) -> list[Bucket]:
    if isinstance(params, DigitsParams | WorldParams):
        return [(draw.frames, params.size, params.size) for draw in params.draws]
    if isinstance(params, PromptsParams):
        return []
    return choosing.all_of(params.buckets)
