"""`frostline lora convert`: a LoRA file in another convention."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from frostline.cli import output


def convert(
    lora: Annotated[Path, typer.Argument(help="A .safetensors file of either convention.")],
    file: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The .safetensors file to make.")],
    layout: Annotated[Literal["native", "diffusers"], typer.Option(help="native is what ComfyUI reads.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write a LoRA under the names of another convention; its numbers stay what they are, to the last bit."""
    from frostline import adapting

    found = adapting.convert(lora, file, layout)
    ranks = sorted({change.rank for change in found.values()})
    facts = {"output": str(file), "layout": layout, "matrices": len(found), "ranks": ranks}
    said = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
    output.say(f"{file}: {len(found)} matrices of {said} under {layout} names", facts, as_json=as_json)
