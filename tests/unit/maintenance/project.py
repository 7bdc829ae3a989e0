"""A project's caches, manifests and pool in one folder, with rows whose pixels are counted as they are asked for."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from frostline import caching, digests, files, manifest
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.maintenance import verifying
from frostline.maintenance.contents import Contents
from frostline.maintenance.repairing import Repair
from frostline.maintenance.verifying import Expected, Looked
from frostline.manifest import Columns, Row
from frostline.store import layout, writing
from frostline.store.layout import MANIFEST
from tests import tiny
from tests.unit.caching import rows as made

SETTINGS = tiny.cache_params()
ROWS = [
    *(made.row(n, caption=("one", "two", "a moving digit")[n % 3]) for n in range(6)),
    *(made.row(n, frames=5, caption="three moving left", split="validation") for n in (6, 7)),
    made.prompt(8, "four"),
]
IMAGES, CLIPS = "1x16x16", "5x16x16"


class Project:
    """What `frostline cache` works on."""

    def __init__(self, folder: Path, codec: Codec) -> None:
        self.folder, self.codec = folder, codec
        self.latents, self.manifests = folder / "latents", folder / "manifest"
        self.pool = Pool(folder / "pool", codec.latent_space)
        self.sources = ["tiny"]
        self.address: str | None = None  # of the store that parts go to

    def encode(self, source: str = "tiny", rows: Sequence[Row] = ROWS, stop: str = "") -> list[str]:
        """Make the cache of a source, up to an item at which the power goes; gives the items that were encoded."""
        asked: list[str] = []

        def counted(row: Row) -> np.ndarray:
            if row.item == stop:
                raise KeyboardInterrupt
            asked.append(row.item)
            return made.pixels(row)

        manifest.write(self.manifests / source, list(rows), [])
        columns = Columns.of(Row, list(rows))
        output = self.latents / source
        caching.write_source(source, columns, counted, self.codec, SETTINGS, self.pool, output, self.address)
        return sorted(asked)

    def look(self, *names: str, deep: bool = False, **expected: Any) -> Looked:
        """What verify finds."""
        against = Expected(sources=self.sources, base=self.codec.latent_space, index=None)
        against = dataclasses.replace(against, **expected)
        contents = Contents() if deep else None
        return verifying.look(names, self.latents, self.pool, against, contents, idle=True)

    def lines(self, *names: str, deep: bool = False, **expected: Any) -> list[str]:
        """What verify says is wrong, paths relative to the project."""
        found = self.look(*names, deep=deep, **expected).found
        return [one.line.replace(f"{self.folder}/", "") for one in found if one.verdict != "note"]

    def repair(self) -> Repair:
        """Look at every row, and mend."""
        mended = Repair(self.pool, self.look(deep=True))
        mended.run()
        return mended

    def digest(self, source: str = "tiny") -> str:
        """Of a whole cache."""
        return digests.of_folder(self.latents / source)

    def part(self, kind: str, source: str = "tiny") -> Path:
        """The first part of a kind in a cache."""
        return min((self.latents / source / kind).glob("*.parquet"))

    def fresh(self, kind: str) -> list[Path]:
        """Units of the pool."""
        return sorted((self.pool.folder / "fresh" / kind).glob("*.parquet"))

    def pooled(self, part: Path) -> Path:
        """The same part in the pool."""
        return self.pool.path(part.relative_to(self.latents / part.relative_to(self.latents).parts[0]).as_posix())


def flip(path: Path, place: int) -> None:
    """Change one bit of a file in place."""
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def apart(path: Path) -> None:
    """Give a file bytes of its own, as DVC does when it copies or clones what a stage made."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def find(path: Path, data: bytes) -> int:
    """Where bytes lie in a file."""
    place = path.read_bytes().find(data)
    assert place >= 0
    return place


def written_anew(project: Project, part: Path, change: Callable[[torch.Tensor], object]) -> None:
    """Give a part of items, in cache and pool, other latents (n, values) with digests that are right everywhere."""
    table = pq.read_table(part)
    data = np.frombuffer(b"".join(table["latent"].to_pylist()), np.uint8).reshape(len(table), -1).copy()
    change(torch.from_numpy(data).view(torch.bfloat16))
    pooled, name = project.pooled(part), part.relative_to(project.latents / "tiny").as_posix()
    part.unlink()
    bucket = layout.bucket_of(part.parent.name)
    writing.write_items(pooled, project.codec.latent_space, bucket, table, data, writing.row_digests(data))
    part.hardlink_to(pooled)
    project.pool.keep(name)
    sealed(project.latents / "tiny", part)


def sealed(cache: Path, part: Path) -> None:
    """List a part as it now is, as somebody would who trusts digests alone."""
    values = files.read_json(cache / MANIFEST)
    (listed,) = [one for one in values["parts"] if cache / one["name"] == part]
    listed |= {"rows": pq.read_metadata(part).num_rows, "bytes": part.stat().st_size}
    listed |= {"digest": digests.of_file(part)}
    files.write_json(cache / MANIFEST, values)
