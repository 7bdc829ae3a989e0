"""`frostline explain`: one check of the doctor in words: its story, the maths, what is measured, the remedy."""

from typing import Annotated

import typer

from frostline.cli import output


def explain(
    check: Annotated[str | None, typer.Argument(help="D01 to D36; all are listed if none is named.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what a check of the doctor asks and why, how it is measured, and what is to be done."""
    from frostline.doctor import catalogue, explaining

    if check is None:
        facts = {id_: entry.model_dump(mode="json") for id_, entry in catalogue.entries().items()}
        output.say(explaining.listed(), facts, as_json=as_json)
        return
    entry = catalogue.entry(check)
    output.say(explaining.words(entry), entry.model_dump(mode="json"), as_json=as_json)
