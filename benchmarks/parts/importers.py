"""Which dataset configs of other tools the importers read, and what they name in those they refuse."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks import Frame
from frostline import importing
from frostline.errors import FrostlineError

BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)  # of a page in Markdown
TABLES = ("[[datasets]]", "[[directory]]")  # a block without one is no dataset config
KEY = re.compile(r"key '([\w.-]+)'")
REHEARSED = {  # for --quick
    "musubi-tuner": '[[datasets]]\nimage_directory = "a"\ncaption_extension = ".txt"\n',
    "diffusion-pipe": "resolutions = [64]\n[[directory]]\npath = 'a'\n",
}
Verdict = Literal["imported", "key named", "not understood"]


class Row(NamedTuple):
    """What came of one config."""

    file: str  # relative to the folder; of a page with the line its block begins in
    verdict: Verdict
    message: str


def measure(frame: Frame) -> None:
    """Take down, for each tool, which share of the public configs is imported or refused by a key's name.

    FROSTLINE_CONFIGS is a folder with the examples and docs of each tool in a folder of its name.
    """
    given = os.environ.get("FROSTLINE_CONFIGS")
    for tool in importing.TOOLS:
        figure = f"configs_{tool.replace('-', '_')}"
        if frame.quick:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "page.md").write_text(f"```toml\n{REHEARSED[tool]}```\n", "utf-8")
                _record(frame, figure, table(tool, Path(folder)))
        elif given is None or not (Path(given) / tool).is_dir():
            reason = f"FROSTLINE_CONFIGS names no folder that holds {tool}"
            frame.not_run(figure, 1.0, "==", unit="share", reason=reason)
        else:
            _record(frame, figure, table(tool, Path(given) / tool))


def _record(frame: Frame, figure: str, rows: list[Row]) -> None:
    for row in rows:
        print(f"    {row.verdict:<14} {row.message if row.verdict != 'imported' else f'{row.file}: {row.message}'}")
    understood = [row for row in rows if row.verdict != "not understood"]
    imported = sum(row.verdict == "imported" for row in rows)
    share = len(understood) / len(rows) if rows else None
    note = (
        f"{imported} imported, {len(understood) - imported} refused by the key's name" if rows else "not run: no config"
    )
    frame.record(figure, share, 1.0, "==", unit="share", n=len(rows), spread="deterministic", note=note)


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
