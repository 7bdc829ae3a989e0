"""`frostline lora merge`: a model folder of a model with a LoRA added to its weights."""

from pathlib import Path
from typing import Annotated

import typer

from frostline.cli import locating, output


def merge(
    model: Annotated[str, typer.Argument(help="A model, fetched or pipeline folder, or models:/NAME@ALIAS.")],
    lora: Annotated[Path, typer.Argument(help="A .safetensors file of either convention.")],
    folder: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The folder to make; it must not exist yet.")],
    scale: Annotated[float, typer.Option(help="What the LoRA is multiplied by; 1 is as it was trained.")] = 1.0,
    registry: Annotated[str, typer.Option(help="Folder of the model registry.")] = locating.REGISTRY,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write a model folder with a LoRA merged in; its contract stays, and merged.json says what it is made of."""
    from frostline import adapting, origins

    merged = adapting.merge(origins.find(locating.model_folder(model, registry)), lora, folder, scale=scale)
    facts = {"output": str(folder), **merged.model_dump(mode="json", exclude={"training", "earlier"})}
    line = f"{folder}: {model} with {merged.scale:g} times {lora}, {merged.matrices} matrices changed"
    output.say(line, facts, as_json=as_json)
