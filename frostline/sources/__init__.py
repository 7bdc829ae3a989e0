"""Where rows come from: one module per kind of source, the same three questions to each.

rows            which windows of which media there are, and what was left out and why
pixels          the pixels of one row, at the size of its bucket
require_usable  is it enough, and were few enough left out?
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from frostline.errors import Refused, WrongUse
from frostline.manifest import Rejected, Row
from frostline.params import DigitsParams, SourceParams, WorldParams
from frostline.sources import embedded, folder

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # what a progress bar does to the things it counts
DRAWN = (DigitsParams, WorldParams)  # by Frostline itself


def rows(source: str, params: SourceParams, progress: Progress = iter) -> tuple[list[Row], list[Rejected]]:
    """All rows of a source in a fixed order, and what was left out; media are decoded once, to the end."""
    if isinstance(params, DRAWN):
        return embedded.rows(source, params, progress), []
    return folder.rows(source, params, progress)


def pixels(params: SourceParams, row: Row) -> np.ndarray:
    """The pixels of one row: uint8 (frames, height, width, 3); raises media.Unusable if its media have changed."""
    return embedded.pixels(params, row) if isinstance(params, DRAWN) else folder.pixels(params, row)


def require_usable(source: str, params: SourceParams, found: Sequence[Row], rejected: Sequence[Rejected]) -> None:
    """Refuse a source with nothing to train on (WrongUse) or with more left out than it allows (Refused)."""
    if not isinstance(params, DRAWN):
        _require_few(source, params.path, params.max_rejected, found, rejected)
    if not found:
        raise WrongUse(
            f"{params.path}: source '{source}' is empty: no item was found; name media in its metadata.jsonl"
        )
    if not any(row.split == "train" for row in found):
        items = len({row.item for row in found})
        remedy = f"add items, or change sources.{source}.split"
        raise WrongUse(f"{params.path}: none of the {items} item(s) of source '{source}' fell into train; {remedy}")


def _require_few(
    source: str, path: str, max_rejected: float, found: Sequence[Row], rejected: Sequence[Rejected]
) -> None:
    items = len({row.locator for row in found}) + len(rejected)
    if len(rejected) <= max_rejected * items:
        return
    firsts = {entry.reason: entry for entry in reversed(rejected)}
    examples = "; ".join(f"{reason}: {entry.detail}" for reason, entry in sorted(firsts.items()))
    raise Refused(
        f"{path}: {len(rejected)} of {items} item(s) of source '{source}' cannot be used, more than the share of "
        f"{max_rejected} it may lose ({examples}); mend them, take them out, or raise sources.{source}.max_rejected"
    )
