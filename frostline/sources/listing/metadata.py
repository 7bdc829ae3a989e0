"""metadata.jsonl or metadata.csv: a line for each image, clip or frame folder, with its captions.

    {"file_name": "cats/1.png", "text": "a cat on a mat"}
    {"file_name": "film/2.mp4", "text": ["a door opens", "the door"], "item": "film", "camera": "A"}
    {"file_name": "film/3.mp4", "text": [{"text": "a door shuts", "weight": 2}, {"text": "a door", "weight": 1}]}

``file_name`` is relative to the folder. ``item``, if given, names what the file was cut from: all files of an item are
in one split. The caption's key is a param; every other key becomes an attribute of the rows. A CSV table has the same
keys as columns, and texts in them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frostline import storage
from frostline.errors import WrongUse
from frostline.params.sources import FolderParams
from frostline.sources.entries import Listing, Medium
from frostline.sources.listing import captions, csv_files, frame_folders, jsonl_files, naming
from frostline.sources.listing.naming import Named
from frostline.storage import Blob

LINES, TABLE = "metadata.jsonl", "metadata.csv"
NAME, ITEM = "file_name", "item"
MEDIA: dict[str, Medium] = {"imagefolder": "image", "videofolder": "clip", "frames": "frames"}


def read(source: str, params: FolderParams) -> Listing:
    """The media of a folder; raises WrongUse naming file, line and remedy where the table is wrong."""
    root = params.path
    if not storage.is_remote(root) and not Path(root).is_dir():
        raise WrongUse(f"{root}: no such folder; correct the path of its source in params.yaml")
    named = naming.by_locator(
        _named(root, values, params.caption, where) for where, values in _objects(root, params.caption)
    )
    if params.kind == "frames":
        return frame_folders.find(source, root, named)
    return naming.find_files(source, root, named, MEDIA[params.kind])


def _objects(root: str, caption: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line as (where it stands, its values)."""
    lines, table = _file(root, LINES), _file(root, TABLE)
    if lines and table:
        raise WrongUse(f"{root}: holds {LINES} and {TABLE}; keep one of them")
    if lines:
        yield from _lines(lines, caption)
    elif table:
        for number, row in csv_files.rows(table, table.path):
            yield f"{table.path}:{number}", _of_csv(row)
    else:
        example = _example("text")
        raise WrongUse(f"{root}/{LINES}: no such file; write one line per file: {example}{_elsewhere(root)}")


def _file(root: str, name: str) -> Blob | None:
    try:
        return storage.blob(root, name)
    except storage.Gone:
        return None


def _lines(blob: Blob, caption: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, values in jsonl_files.rows(blob, f"; write {_example(caption)}"):
        yield f"{blob.path}:{number}", values


def _of_csv(row: dict[str, str]) -> dict[str, Any]:
    """An empty item is none."""
    return {key: value for key, value in row.items() if not (key == ITEM and not value)}


def _named(root: str, values: dict[str, Any], caption: str, where: str) -> Named:
    for key in (NAME, caption):
        if key not in values:
            keys = ", ".join(map(repr, values))
            message = f"{where}: no {key!r} (it has {keys}); write {_example(caption)}, or name the caption's key"
            raise WrongUse(f"{message} in params")
    rest = {key: value for key, value in values.items() if key not in (NAME, ITEM, caption)}
    return Named(
        locator=naming.locator(values[NAME], root, where),
        captions=captions.of_value(values[caption], where),
        item=naming.item(values.get(ITEM), ITEM, where),
        attributes=naming.attributes(rest, where),
        where=where,
    )


def _example(caption: str) -> str:
    return json.dumps({NAME: "a.png", caption: "what it shows"})


def _elsewhere(root: str) -> str:
    """A hint, where the folder holds several data sets."""
    found = [] if storage.is_remote(root) else sorted(path.parent.name for path in Path(root).glob("*/metadata.*"))
    return f"; or make the path one of its folders that have one: {', '.join(found)}" if found else ""
