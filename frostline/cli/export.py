"""`frostline export`: a model folder and its base as one diffusers pipeline folder."""

from pathlib import Path
from typing import Annotated

import typer

from frostline.cli import locating, output


def export(
    model: Annotated[str, typer.Argument(help="A model folder, or models:/NAME@ALIAS of the registry.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not exist yet.")],
    base: Annotated[
        Path | None,
        typer.Option("--base", "--teacher-path", help="Folder of VAE and text encoder, if not where the model says."),
    ] = None,
    registry: Annotated[str, typer.Option(help="Folder of the model registry.")] = locating.REGISTRY,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write a complete diffusers WanPipeline folder with a model card that says how to call it."""
    from frostline import export as exporting
    from frostline import generation, models

    loaded = models.load(locating.model_folder(model, registry))
    place = generation.base_folder(loaded) if base is None else locating.require_folder(base, "a base")
    exporting.export(loaded, place, folder)
    facts = {"output": str(folder), "weights_digest": loaded.training.weights_digest}
    output.say(f"{folder}: a WanPipeline folder; {folder / exporting.CARD} says how to call it", facts, as_json=as_json)
