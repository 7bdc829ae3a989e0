"""Params of a source, and small trees of files: a listing opens no media, so any bytes do."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline import records
from frostline.params.sources import SourceParams
from frostline.sources import listing
from frostline.sources.entries import Entry, Listing
from tests import neutral


class AnySource(records.Record):
    """Any kind of media, as params.yaml has it."""

    source: SourceParams


def media_params(path: Path | str, kind: str, **changes: Any) -> Any:
    """Params of a source of media."""
    return records.parse(AnySource, {"source": neutral.section(path, kind, **changes)}, origin="test").source


def read(path: Path | str, kind: str, **changes: Any) -> Listing:
    """What is at the path, by one convention."""
    return listing.read("s", media_params(path, kind, **changes))


def write(root: Path, tree: Mapping[str, str | bytes]) -> Path:
    """Files below a folder, by name."""
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def lines(values: Sequence[Mapping[str, Any]]) -> str:
    """The text of a metadata.jsonl."""
    return "".join(json.dumps(value) + "\n" for value in values)


def texts(entry: Entry) -> list[str]:
    """The captions of an entry."""
    return [caption.text for caption in entry.captions]


def by_name(found: Listing) -> dict[str, list[str]]:
    """Captions by locator."""
    return {entry.locator: texts(entry) for entry in found.entries}


def reasons(found: Listing) -> dict[str, str]:
    """Why what was left out, by locator."""
    assert len({entry.locator for entry in found.rejected}) == len(found.rejected)
    return {entry.locator: entry.reason for entry in found.rejected}
