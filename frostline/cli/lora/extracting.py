"""`frostline lora extract`: what turned one model into another, as a LoRA."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from frostline.cli import locating, output

Model = Annotated[str, typer.Argument(help="A model, fetched or pipeline folder, a file, or models:/NAME@ALIAS.")]


def extract(
    model: Model,
    base_model: Model,
    file: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The .safetensors file to make.")],
    rank: Annotated[int, typer.Option(min=1, help="Of each matrix's change.")],
    layout: Annotated[Literal["native", "diffusers"], typer.Option(help="native is what ComfyUI reads.")] = "native",
    matrices_only: Annotated[
        bool, typer.Option("--matrices-only", help="Leave out what no LoRA can hold: changed biases and norms.")
    ] = False,
    registry: Annotated[str, typer.Option(help="Folder of the model registry.")] = locating.REGISTRY,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write the LoRA of a rank that comes nearest to turning BASE_MODEL into MODEL, and say how near that is."""
    from frostline import adapting, origins

    adapting.require_new(file)
    after, before = (origins.find(locating.model_folder(place, registry)) for place in (model, base_model))
    found = adapting.extract(after, before, file, rank=rank, naming=layout, matrices_only=matrices_only)
    module, share = found.worst
    facts = {
        "output": str(file),
        "rank": rank,
        "kept": found.overall,
        "kept_by_module": found.kept,
        "left_out": found.left_out,
    }
    without = f"; left out, as no matrices: {len(found.left_out)} tensors" if found.left_out else ""
    line = (
        f"{file}: rank {rank} of {len(found.lora)} matrices keeps {found.overall:.2%} of the change (squared norm), "
        f"worst {share:.2%} of {module}{without}"
    )
    output.say(line, facts, as_json=as_json)
