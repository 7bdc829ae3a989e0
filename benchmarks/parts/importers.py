"""Which dataset configs of other tools the importers read, and what they name in those they refuse."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from frostline import importing
from frostline.errors import FrostlineError

BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)  # of a page in Markdown
TABLES = ("[[datasets]]", "[[directory]]")  # a block without one is no dataset config
KEY = re.compile(r"key '([\w.-]+)'")
Verdict = Literal["imported", "key named", "not understood"]


class Row(NamedTuple):
    """What came of one config."""

    file: str  # relative to the folder; of a page with the line its block begins in
    verdict: Verdict
    message: str


def table(tool: str, folder: Path) -> list[Row]:
    """Run an importer over every TOML file in a folder, and over every block of its pages that has datasets."""
    with tempfile.TemporaryDirectory() as scratch:
        return [_row(tool, name, text, Path(scratch)) for name, text in examples(folder)]


def examples(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and text of every config in a folder."""
    for path in sorted(folder.rglob("*")):
        name, is_page = path.relative_to(folder).as_posix(), path.suffix == ".md"
        if path.suffix == ".toml":
            yield name, path.read_text("utf-8")
        for block in BLOCK.finditer(path.read_text("utf-8")) if is_page else ():
            if any(table in block[1] for table in TABLES):
                yield f"{name}:{block.string.count(chr(10), 0, block.start()) + 1}", block[1]


def _row(tool: str, name: str, text: str, scratch: Path) -> Row:
    config = scratch / "dataset.toml"
    config.write_text(text, "utf-8")
    try:
        imported = importing.read(tool, config)
        importing.text(imported, name)
    except FrostlineError as error:
        message = str(error).replace(str(config), name)
        return Row(name, "key named" if _is_named(message, text) else "not understood", message)
    return Row(name, "imported", f"{len(imported.sources)} source(s), {len(imported.notes)} note(s)")


def _is_named(message: str, text: str) -> bool:
    """Whether the message names a key that is in the config, or one that is missing from it."""
    words = [key[1].split(".")[-1] for key in KEY.finditer(message)]
    return "missing key" in message or any(word in text for word in words)
