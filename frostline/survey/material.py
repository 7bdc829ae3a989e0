"""What a survey looks at: the manifest of every source, and its contact sheet.

Names:  row      one window of one medium, as it will be encoded
        medium   one image, clip or folder of frames; several rows may be cut from it
        item     what rows must not be torn apart from: all rows of an item are in one split
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from frostline import manifest
from frostline.manifest import Rejected, Row
from frostline.pages.words import Bucket
from frostline.survey import sheets
from frostline.survey.sheets import Sheet

PROMPT = "prompt"  # medium of a row that is a caption alone


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source, as it was prepared."""

    name: str
    rows: list[Row]  # that have pixels
    prompts: list[Row]  # captions alone
    rejected: list[Rejected]
    sheet: Sheet

    @property
    def everything(self) -> list[Row]:
        """All rows of the manifest."""
        return [*self.rows, *self.prompts]

    @property
    def media(self) -> list[Row]:
        """The first row of each medium: what it says of the medium holds for all its rows."""
        firsts: dict[str, Row] = {}
        for row in self.rows:
            firsts.setdefault(row.locator, row)
        return list(firsts.values())


def read(names: Sequence[str], manifests: Path, folder: Path) -> list[Source]:
    """The sources in the order of params; raises WrongUse or Refused if a table or a sheet is not whole."""
    return [_source(name, manifests / name, folder / name) for name in names]


def _source(name: str, tables: Path, sheet: Path) -> Source:
    rows = manifest.read(tables)
    return Source(
        name=name,
        rows=[row for row in rows if row.medium != PROMPT],
        prompts=[row for row in rows if row.medium == PROMPT],
        rejected=manifest.read_rejected(tables),
        sheet=sheets.read(sheet),
    )


def buckets(sources: Sequence[Source]) -> dict[Bucket, dict[str, list[Row]]]:
    """Rows by bucket, smallest first, and source."""
    found: dict[Bucket, dict[str, list[Row]]] = {}
    for source in sources:
        for row in source.rows:
            found.setdefault(row.bucket, {}).setdefault(source.name, []).append(row)
    return dict(sorted(found.items()))
