"""`frostline export`: a model folder and its base as one diffusers pipeline folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from frostline.cli import locating, output
from frostline.errors import WrongUse

if TYPE_CHECKING:
    from frostline.models import Model

Layout = Literal["diffusers", "native"]
FILE = ".safetensors"


def export(
    model: Annotated[str, typer.Argument(help="A model folder, or models:/NAME@ALIAS of the registry.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make, or the file; it must not exist yet.")],
    layout: Annotated[
        Layout, typer.Option(help="A pipeline folder, or the transformer in one file of native names (ComfyUI).")
    ] = "diffusers",
    base: Annotated[
        Path | None,
        typer.Option("--base", "--teacher-path", help="Folder of VAE and text encoder, if not where the model says."),
    ] = None,
    registry: Annotated[str, typer.Option(help="Folder of the model registry.")] = locating.REGISTRY,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write a complete diffusers WanPipeline folder with a model card, or a transformer in one file."""
    from frostline import export as exporting
    from frostline import generation, models

    loaded = models.load(locating.model_folder(model, registry))
    if layout == "native":
        _native(loaded, folder, as_json=as_json)
        return
    place = generation.base_folder(loaded) if base is None else locating.require_folder(base, "a base")
    exporting.export(loaded, place, folder)
    facts = {"output": str(folder), "weights_digest": loaded.training.weights_digest}
    output.say(f"{folder}: a WanPipeline folder; {folder / exporting.CARD} says how to call it", facts, as_json=as_json)


def _native(model: "Model", path: Path, *, as_json: bool) -> None:
    from frostline.wan import exporting

    if path.suffix != FILE or path.exists():
        raise WrongUse(f"{path}: name a new {FILE} file for the native layout")
    unlike = exporting.write(model.transformer, model.contract, path)
    facts = {"output": str(path), "weights_digest": model.training.weights_digest, "not_for_comfyui": unlike}
    where = f"; ComfyUI will not load it: {'; '.join(unlike)}" if unlike else ", for ComfyUI's models/diffusion_models"
    output.say(f"{path}: the transformer under native names{where}", facts, as_json=as_json)
