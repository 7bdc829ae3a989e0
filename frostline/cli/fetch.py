"""`frostline fetch`: a published model as a local, pinned folder."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frostline.cli import output
from frostline.errors import WrongUse

if TYPE_CHECKING:
    from frostline.wan.layouts import Role


def fetch(
    source: Annotated[str, typer.Argument(help="OWNER/NAME on the hub, a folder, or s3://bucket/prefix.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make; one that was fetched before is checked.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="ROLE=FILE: a single file in the place of transformer, transformer_2, vae or text_encoder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was fetched as JSON.")] = False,
) -> None:
    """Make a local folder of a Wan model in either layout, converted, audited and pinned by digests."""
    os.environ["HF_HUB_OFFLINE"] = "0"  # asked for by this command alone; read when the hub's library is imported
    from frostline.wan import fetching

    made = fetching.fetch(source, folder, revision=revision, parts=dict(_parts(part or [])))
    known = made.family or "no published model by its shape, so its own configurations hold"
    commit = f" at {made.revision}" if made.revision else ""
    line = f"{folder}: {source}{commit}, {known}; {len(made.files)} files pinned"
    output.say(line, made.model_dump(mode="json"), as_json=as_json)


def _parts(texts: Sequence[str]) -> "Iterator[tuple[Role, Path]]":
    from frostline.wan.layouts import ROLES

    roles: dict[str, Role] = {role: role for role in ROLES}
    for text in texts:
        name, equals, file = text.partition("=")
        if not equals or name not in roles:
            raise WrongUse(f"--part {text!r}: write ROLE=FILE with one of {', '.join(ROLES)}")
        yield roles[name], Path(file)
