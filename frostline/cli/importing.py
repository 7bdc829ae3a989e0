"""`frostline import-dataset`: a dataset config of another tool as a `sources:` section of params.yaml."""

from pathlib import Path
from typing import Annotated

import typer

from frostline.cli import output
from frostline.errors import WrongUse


def import_dataset(
    tool: Annotated[str, typer.Argument(help="musubi-tuner or diffusion-pipe.")],
    config: Annotated[Path, typer.Argument(help="Its dataset config, TOML.")],
    to: Annotated[
        Path | None, typer.Option("--output", help="A file to write instead of printing; it must not exist yet.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print sources and notes as JSON.")] = False,
) -> None:
    """Read a tool's dataset config; a key that would change the data and has no counterpart here is named."""
    from frostline import files, importing

    imported = importing.read(tool, config)
    text = importing.text(imported, f"{config.name} of {tool}, read by `frostline import-dataset`")
    facts = {**importing.values(imported), "notes": list(imported.notes)}
    if to is None:
        output.say(text.rstrip("\n"), facts, as_json=as_json)
        return
    if to.exists():
        raise WrongUse(f"{to}: is there already; name a new file and lay it over params.yaml with `frostline preset`")
    files.write_text(to, text)
    summary = f"{to}: {len(imported.sources)} source(s): {', '.join(imported.sources)}; notes stand in front of them"
    output.say(summary, {"output": str(to), **facts}, as_json=as_json)
