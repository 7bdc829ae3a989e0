"""Rows of media that were not touched since all were prepared, taken as they were made then.

The rule: media that no group ties to the rest (of near-duplicates, copies, or of one item) have the rows they would
have if they were alone. So where few media are new, changed or gone, and none of them is tied to any that stays, only
rows of the new and changed are made, and join the others in the order of their locators. In any other case all rows
are made, and kept for the next time:

    items.arrow      as in the manifest
    rejected.arrow   of media that could be decoded
    media.arrow      those, as they were listed and what was seen of them (sources/seen.py)
    made_from.json   digest of the params and of our code; digests of the tables

What a medium is by its listing is one line of text, with its stamps: a line that is there again is a medium that was
not touched. Nothing of all this has any influence on the rows, and the folder can be deleted at any time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import frostline
from frostline import digests, files, manifest
from frostline.errors import FrostlineError
from frostline.manifest import Columns, Rejected, Row
from frostline.params.sources import AnyMediaParams
from frostline.sources import media_rows, seen
from frostline.sources.entries import Entry
from frostline.sources.means import Means
from frostline.sources.media_rows import Part
from frostline.sources.seen import Seen

MOST = 2048  # media that came, changed or went; where more did, all rows are made
ITEMS, REJECTED, MEDIA, FACTS = "items.arrow", "rejected.arrow", "media.arrow", "made_from.json"


def columns(source: str, params: AnyMediaParams, means: Means) -> tuple[Iterator[Columns[Row]], list[Rejected]]:
    """All rows in columns, and what was left out; nothing is kept where a captioner may say other things next time."""
    if params.captioner is not None:
        rows, rejected = media_rows.rows(source, params, means)
        return manifest.in_columns(Row, rows), rejected
    listed, reading = media_rows.listed(source, params, means), media_rows.Reading(source, params, means)
    keeping = _Keeping(means.rows(source), _made_from(source, params))
    kept = None if means.verify else keeping.read()
    joined = kept and _joined(kept, listed.entries, reading, params.filters.duplicate_distance)
    if joined:
        rows, rejected, media = joined
    else:
        part = media_rows.Reading(source, params, means).part(listed.entries)
        rows, rejected, media = keeping.over(part), part.rejected, part.seen
    means.look(media)
    return rows, media_rows.in_order([*listed.rejected, *rejected])


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What was made when all rows were."""

    rows: Columns[Row]
    rejected: list[Rejected]
    media: Columns[Seen]


@dataclass(frozen=True)
class _Keeping:
    """Where what is made is kept, and what it is made from."""

    folder: Path
    made_from: str

    def over(self, part: Part) -> Iterator[Columns[Row]]:
        """The rows in columns, all kept once the last is taken."""
        media = part.seen.where([line != "" for line in part.seen.values("line")])
        rejected = _of_media(part.rejected, media)
        with files.new_folder(self.folder) as beside:
            with manifest.keeping(beside / ITEMS, Row) as keep:
                for rows in manifest.in_columns(Row, part.rows):
                    keep(rows)
                    yield rows
            with manifest.keeping(beside / REJECTED, Rejected) as keep:
                keep(Columns.of(Rejected, rejected))
            with manifest.keeping(beside / MEDIA, Seen) as keep:
                keep(media)
            facts = {name: digests.of_file(beside / name) for name in (ITEMS, REJECTED, MEDIA)}
            files.write_json(beside / FACTS, {"made_from": self.made_from, "digests": facts})

    def read(self) -> _Kept | None:
        """What is kept, if it was made from the same and is whole."""
        try:
            facts = files.read_json(self.folder / FACTS)
            whole = all(digests.of_file(self.folder / name) == digest for name, digest in facts["digests"].items())
        except (FrostlineError, OSError):
            return None
        if not whole or facts["made_from"] != self.made_from:
            return None
        return _Kept(
            rows=manifest.kept(self.folder / ITEMS, Row),
            rejected=manifest.kept(self.folder / REJECTED, Rejected).records(),
            media=manifest.kept(self.folder / MEDIA, Seen),
        )


def _joined(
    kept: _Kept, entries: Sequence[Entry], reading: media_rows.Reading, distance: int
) -> tuple[Iterator[Columns[Row]], list[Rejected], Columns[Seen]] | None:
    """What is kept of media that stay, and what is made of those that were touched; None where all is to be made."""
    lines, before = [seen.line(entry) for entry in entries], kept.media.values("line")
    now, known = set(lines), set(before)
    touched = [entry for entry, line in zip(entries, lines, strict=True) if line not in known]
    stays = [line in now for line in before]
    if len(touched) + stays.count(False) > MOST:
        return None
    stay, gone = kept.media.where(stays), kept.media.where([not one for one in stays])
    part = reading.part(touched)
    if seen.tied(part.seen, stay, distance) or seen.tied(gone, stay, distance):
        return None
    there = set(stay.values("locator"))
    rows = kept.rows.where([locator in there for locator in kept.rows.values("locator")])
    made = Columns.of(Row, list(part.rows))
    if len(made):
        rows = rows.with_others(made).sorted_by("locator")
    return rows.parts(), [*_of_media(kept.rejected, stay), *part.rejected], stay.with_others(part.seen)


def _of_media(rejected: Sequence[Rejected], media: Columns[Seen]) -> list[Rejected]:
    there = set(media.values("locator"))
    return [entry for entry in rejected if entry.locator in there]


def _made_from(source: str, params: AnyMediaParams) -> str:
    """What rows depend on besides media: all our code, as no one part of it makes them."""
    root = Path(frostline.__file__).parent
    code = [[file.relative_to(root).as_posix(), digests.of_file(file)] for file in sorted(root.rglob("*.py"))]
    return digests.of_json([source, params.model_dump(mode="json"), code])
