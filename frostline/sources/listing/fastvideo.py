"""FastVideo's videos2caption.json: a list of clips and images, each with its captions.

    [{"path": "a/1.mp4", "cap": ["a door opens"], "resolution": {"width": 848, "height": 480}, "fps": 30.0,
      "duration": 6.03, "num_frames": 181, "size": 2439112}, {"path": "0.jpg", "cap": "a cat"}]

``path`` is relative to the folder of the clips (a param, "videos" by custom). What it says of size, rate and length is
not taken over: media are measured. Other keys become attributes, but those that would show a part of a clip only.
"""

from collections.abc import Iterator
from typing import Any

from frostline import storage
from frostline.errors import WrongUse
from frostline.params.sources import FastVideoParams
from frostline.sources.entries import Listing
from frostline.sources.listing import captions, naming
from frostline.sources.listing.naming import Named

FILE = "videos2caption.json"
LIMIT = 4 << 30  # bytes
MEASURED = frozenset({"resolution", "fps", "duration", "num_frames", "size"})
PARTS = ("cut", "crop")  # of forks: which frames, which pixels


def read(source: str, params: FastVideoParams) -> Listing:
    """The clips and images of the folder; raises WrongUse naming the place in the list where it is wrong."""
    below = naming.locator(params.media, params.path, f"{params.path}: the folder of the media in params")
    named = naming.by_locator(_named(params.path, below, where, values) for where, values in _objects(params.path))
    return naming.find_files(source, params.path, named, None, below=f"{below}/")


def _objects(root: str) -> Iterator[tuple[str, dict[str, Any]]]:
    path = storage.join(root, FILE)
    found = naming.json_value(storage.blob(root, FILE).read(LIMIT).removeprefix(b"\xef\xbb\xbf"), path)
    if not isinstance(found, list):
        raise WrongUse(f"{path}: not a JSON list; write {_EXAMPLE}")
    for number, values in enumerate(found, start=1):
        if not isinstance(values, dict):
            raise WrongUse(f"{path}: number {number} is {str(values)[:80]!a}; write {_EXAMPLE}")
        yield f"{path}: number {number}", values


_EXAMPLE = '[{"path": "1.mp4", "cap": ["what it shows"]}]'


def _named(root: str, below: str, where: str, values: dict[str, Any]) -> Named:
    missing = [key for key in ("path", "cap") if key not in values]
    if missing:
        raise WrongUse(f"{where}: no {missing[0]!r} (it has {', '.join(map(repr, values))}); write {_EXAMPLE}")
    parts = [key for key in PARTS if values.get(key) is not None]
    if parts:
        message = f"{where}: {parts[0]!r} is not supported; cut the media and remove the key, or use a metadata.jsonl"
        raise WrongUse(message)
    rest = {key: value for key, value in values.items() if key not in MEASURED | {"path", "cap", *PARTS}}
    inside = naming.locator(values["path"], storage.join(root, below), where)
    return Named(
        locator=f"{below}/{inside}",
        captions=captions.of_value(values["cap"], where),
        item=None,
        attributes=naming.attributes(rest, where),
        where=where,
    )
