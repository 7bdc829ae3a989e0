"""All rows of a source, and whether they are enough: the same questions to every kind."""

from collections.abc import Iterable, Sequence
from typing import Any

from frostline import manifest
from frostline.errors import Refused, WrongUse
from frostline.manifest import Columns, Rejected, Row
from frostline.params.sources import DigitsParams, PromptsParams, SourceParams, WorldParams
from frostline.sources import embedded, media_rows, prompts, remembering
from frostline.sources.means import Means


def rows(source: str, params: SourceParams, means: Means | None = None) -> tuple[Iterable[Row], Sequence[Rejected]]:
    """All rows of a source in a fixed order, to be taken once, and what was left out.

    Media are decoded once, to the end, before the first row comes; what was found is remembered for the next time.
    """
    means = means or Means()
    if isinstance(params, DigitsParams | WorldParams):
        return embedded.rows(source, params, means.progress), []
    if isinstance(params, PromptsParams):
        return prompts.rows(source, params), []
    return media_rows.rows(source, params, means)


def columns(
    source: str, params: SourceParams, means: Means | None = None
) -> tuple[Iterable[Columns[Row]], Sequence[Rejected]]:
    """The same in columns; rows of media that were not touched since are taken as they were made the last time."""
    if isinstance(params, DigitsParams | WorldParams | PromptsParams):
        found, rejected = rows(source, params, means)
        return manifest.in_columns(Row, found), rejected
    return remembering.columns(source, params, means or Means())


def require_usable(source: str, params: SourceParams, summary: dict[str, Any], rejected: Sequence[Rejected]) -> None:
    """Refuse a source with nothing to train on (WrongUse) or with more left out than it allows (Refused)."""
    if not isinstance(params, DigitsParams | WorldParams | PromptsParams):
        _require_few(source, params.path, params.max_rejected, summary, rejected)
    if not summary["rows"]:
        raise WrongUse(f"{params.path}: source '{source}' is empty: no item was found; put media and captions there")
    if not summary["splits"]["train"]:
        remedy = f"add items, or change sources.{source}.split"
        message = f"none of the {summary['items']} item(s) of source '{source}' fell into train"
        raise WrongUse(f"{params.path}: {message}; {remedy}")


def _require_few(
    source: str, path: str, max_rejected: float, summary: dict[str, Any], rejected: Sequence[Rejected]
) -> None:
    left_out, media = summary["left_out"], summary["media"] + summary["left_out"]
    if left_out <= max_rejected * media:
        return
    firsts = {entry.reason: entry for entry in reversed(rejected)}
    examples = "; ".join(f"{reason}: {entry.detail}" for reason, entry in sorted(firsts.items()))
    raise Refused(
        f"{path}: {left_out} of {media} item(s) of source '{source}' cannot be used, more than the share of "
        f"{max_rejected} it may lose ({examples}); mend them, take them out, or raise sources.{source}.max_rejected"
    )
