"""Rows of media that were not touched since all were prepared, taken as they were made then.

The rule: media that no group ties to the rest (of near-duplicates, copies, or of one item) have the rows they would
have if they were alone. So where few media are new, changed or gone, and none of them is tied to any that stays, only
rows of the new and changed are made, and join the others in the order of their locators. In any other case all rows
are made, and kept for the next time:

    stamps.arrow     what was listed (sources/touched.py) of media that could be decoded
    media.arrow      those, and what was seen of them (sources/seen.py)
    items.arrow      their rows, as in the manifest
    rejected.arrow   what was left out of them
    made_from.json   digest of the params and of our code; digests of the tables

Nothing of all this has any influence on the rows, and the folder can be deleted at any time.
"""

import concurrent.futures
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import frostline
from frostline import digests, files, manifest
from frostline.errors import FrostlineError
from frostline.manifest import Columns, Rejected, Row
from frostline.params.sources import AnyMediaParams
from frostline.sources import media_rows, seen, touched
from frostline.sources.means import Means
from frostline.sources.media_rows import Part, Reading
from frostline.sources.seen import Seen
from frostline.sources.touched import ByFile, ByMedium, Stamp

MOST = 2048  # media that came, changed or went; where more did, all rows are made
STAMPS, MEDIA, ITEMS, REJECTED = "stamps.arrow", "media.arrow", "items.arrow", "rejected.arrow"
FACTS = "made_from.json"


def columns(source: str, params: AnyMediaParams, means: Means) -> tuple[Iterator[Columns[Row]], list[Rejected]]:
    """All rows in columns, and what was left out; nothing is kept where a captioner may say other things next time."""
    if params.captioner is not None:
        rows, rejected = media_rows.rows(source, params, means)
        return manifest.in_columns(Row, rows), rejected
    now, keeping = touched.look(source, params, means), _Keeping(means.rows(source), _made_from(source, params))
    distance = params.filters.duplicate_distance
    joined = None if means.verify else _joined(keeping, now, Reading(source, params, means), distance)
    if joined:
        rows, rejected, media = joined
    else:
        listed = now.all()
        part = Reading(source, params, means).part(listed.entries)
        rows, rejected, media = keeping.over(part, now), [*listed.rejected, *part.rejected], part.seen
    means.look(media)
    return rows, media_rows.in_order(rejected)


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What was made when all rows were."""

    media: Columns[Seen]
    rows: Columns[Row]
    rejected: list[Rejected]


@dataclass(frozen=True)
class _Keeping:
    """Where what is made is kept, and what it is made from."""

    folder: Path
    made_from: str

    def over(self, part: Part, now: ByFile | ByMedium) -> Iterator[Columns[Row]]:
        """The rows in columns, all kept once the last is taken."""
        stamps, known = now.stamps(set(part.seen.values("locator")))
        with files.new_folder(self.folder) as beside:
            with manifest.keeping(beside / ITEMS, Row) as keep:
                for rows in manifest.in_columns(Row, part.rows):
                    keep(rows.where([locator in known for locator in rows.values("locator")]))
                    yield rows
            with manifest.keeping(beside / STAMPS, Stamp) as keep:
                keep(stamps)
            with manifest.keeping(beside / MEDIA, Seen) as keep:
                keep(part.seen.where([locator in known for locator in part.seen.values("locator")]))
            with manifest.keeping(beside / REJECTED, Rejected) as keep:
                keep(Columns.of(Rejected, [entry for entry in part.rejected if entry.locator in known]))
            tables = (STAMPS, MEDIA, ITEMS, REJECTED)
            facts = {name: digests.of_file(beside / name) for name in tables}
            files.write_json(beside / FACTS, {"made_from": self.made_from, "digests": facts})

    def stamps(self) -> touched.Stamps | None:
        """What was listed, if all was made from the same."""
        if not self._whole(STAMPS):
            return None
        stamps = manifest.kept(self.folder / STAMPS, Stamp)
        return dict(zip(stamps.values("name"), stamps.values("stamp"), strict=True))

    def read(self) -> _Kept | None:
        """All else that is kept, if it is whole."""
        if not all(map(self._whole, (MEDIA, ITEMS, REJECTED))):
            return None
        return _Kept(
            media=manifest.kept(self.folder / MEDIA, Seen),
            rows=manifest.kept(self.folder / ITEMS, Row),
            rejected=manifest.kept(self.folder / REJECTED, Rejected).records(),
        )

    def _whole(self, name: str) -> bool:
        try:
            facts, digest = files.read_json(self.folder / FACTS), digests.of_file(self.folder / name)
        except (FrostlineError, OSError):
            return False
        return facts["made_from"] == self.made_from and facts["digests"][name] == digest


def _joined(
    keeping: _Keeping, now: ByFile | ByMedium, reading: Reading, distance: int
) -> tuple[Iterator[Columns[Row]], list[Rejected], Columns[Seen]] | None:
    """What is kept of media that stay, and what is made of those that were touched; None where all is to be made."""
    stamps = keeping.stamps()
    since = None if stamps is None else now.since(stamps)
    if since is None or len(since.entries) > MOST:
        return None
    with concurrent.futures.ThreadPoolExecutor(1) as beside:  # tables are read while others decode
        reading_kept = beside.submit(keeping.read)
        part = reading.part(since.entries)
        kept = reading_kept.result()
    if kept is None:
        return None
    stay, gone = kept.media.parted("locator", since.names)
    if len(since.entries) + len(gone) > MOST:
        return None
    if seen.tied(part.seen, stay, distance) or seen.tied(gone, stay, distance):
        return None
    rows = kept.rows.parted("locator", since.names)[0].merged(Columns.of(Row, list(part.rows)), "locator")
    rejected = [entry for entry in kept.rejected if entry.locator not in since.names]
    return rows.parts(), [*since.rejected, *rejected, *part.rejected], stay.with_others(part.seen)


def _made_from(source: str, params: AnyMediaParams) -> str:
    """What rows depend on besides media: all our code, as no one part of it makes them."""
    root = Path(frostline.__file__).parent
    code = [[file.relative_to(root).as_posix(), digests.of_file(file)] for file in sorted(root.rglob("*.py"))]
    return digests.of_json([source, params.model_dump(mode="json"), code])
