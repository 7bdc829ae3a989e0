"""`frostline export`: a model and its base as one diffusers pipeline folder, or its transformer in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from frostline.cli import locating, output

if TYPE_CHECKING:
    from frostline.native import Written

Layout = Literal["diffusers", "native"]


def export(
    model: Annotated[str, typer.Argument(help="A model folder, a fetched one, or models:/NAME@ALIAS.")],
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
    """Write a complete diffusers pipeline folder with a model card, or a transformer in one file for ComfyUI."""
    place = locating.model_folder(model, registry)
    if layout == "native":
        _native(place, folder, as_json=as_json)
        return
    from frostline import export as exporting
    from frostline import generation, teachers

    loaded = teachers.load(place)
    of_base = generation.base_folder(loaded) if base is None else locating.require_folder(base, "a base")
    exporting.export(loaded, of_base, folder)
    facts = {"output": str(folder), "weights_digest": loaded.training.weights_digest}
    output.say(f"{folder}: a pipeline folder; {folder / exporting.CARD} says how to call it", facts, as_json=as_json)


def _native(place: Path, path: Path, *, as_json: bool) -> None:
    from frostline import native, origins

    origin = origins.find(place)
    written = native.write(origin, path)
    facts = {
        "output": [str(file) for file in written.files],
        "weights_digest": origin.weights_digest,
        "not_for_comfyui": written.unlike,
        "workflow": None if written.workflow is None else str(written.workflow),
        "no_workflow": written.unsuited,
        "workflow_differs": written.notes,
    }
    named = " and ".join(map(str, written.files))
    output.say(f"{named}: under native names{_in_comfyui(written)}", facts, as_json=as_json)


def _in_comfyui(written: "Written") -> str:
    """What ComfyUI makes of what was written, in words."""
    if written.unlike:
        return f"; ComfyUI will not load it: {'; '.join(written.unlike)}"
    loads = ", for ComfyUI's models/diffusion_models"
    if written.workflow is None:
        return f"{loads}; no workflow of its stock nodes samples it rightly: {'; '.join(written.unsuited)}"
    differs = "".join(f"\n  {note}" for note in written.notes)
    return f"{loads}\n{written.workflow}: the workflow that samples it there{differs}"
