"""`frostline estimate`: what the stages of a project will take, before any of them runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from frostline.cli import output

if TYPE_CHECKING:
    from frostline.estimating.figures import Estimate, Stage

INDENT = " " * 2


def estimate(
    params: Annotated[Path, typer.Option(help="The project's params.")] = Path("params.yaml"),
    manifest: Annotated[Path, typer.Option(help="Folder of manifests, to count rows in.")] = Path("data/manifest"),
    index: Annotated[Path, typer.Option(help="Index of caches, to count rows in.")] = Path("data/latents.json"),
    rows: Annotated[int | None, typer.Option(help="Rows of each source that was not prepared yet.")] = None,
    caption_tokens: Annotated[
        int | None, typer.Option(help="Of a caption; without it as many as there can be.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="A published model in the place of the base: wan2.1-t2v-1.3b and others.")
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, typer.Option(help="In the place of train.launch.device.")
    ] = None,
    peak_tflops: Annotated[float | None, typer.Option(help="Of a device in bfloat16; an H100's, 989, on GPUs.")] = None,
    peak_tflops_float32: Annotated[float | None, typer.Option(help="In float32; an H100's, 67, on GPUs.")] = None,
    utilisation: Annotated[float | None, typer.Option(help="Share of the peak that is reached; 0.4, assumed.")] = None,
    price_per_hour: Annotated[float | None, typer.Option(help="Of a device; without it no money is told.")] = None,
    formulas: Annotated[bool, typer.Option(help="Show each number's formula.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Memory, disk, operations, hours and money of every stage, from params.yaml and configurations alone."""
    from frostline import params as records
    from frostline.estimating import bases, estimate, machines
    from frostline.estimating.rows import of_source

    settings = records.load(params)
    machine = machines.of_params(
        settings.train.launch,
        _device(device or settings.train.launch.device),
        bfloat16=peak_tflops,
        float32=peak_tflops_float32,
        utilisation=utilisation,
        price=price_per_hour,
    )
    counted = {name: of_source(name, source, index, manifest, rows) for name, source in settings.sources.items()}
    found = estimate(
        settings, machine, counted, family=bases.family(family) if family else None, caption_tokens=caption_tokens
    )
    output.say("\n".join(_lines(found, formulas=formulas)), _facts(found), as_json=as_json)


def _device(asked: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """What is estimated for; auto is a GPU if there is one here."""
    if asked != "auto":
        return asked
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _lines(found: "Estimate", *, formulas: bool) -> list[str]:
    lines = list(found.assumptions)
    for stage in found.stages:
        lines += ["", f"{stage.name}: {stage.what}", *_table(stage, formulas=formulas)]
        lines += [f"{INDENT}({note})" for note in stage.notes]
    return lines


def _table(stage: "Stage", *, formulas: bool) -> list[str]:
    from frostline.estimating import figures

    told = [(figure.name, figures.said(figure), figure.formula) for figure in stage.figures]
    wide, long = (max(len(line[place]) for line in told) for place in (0, 1))
    shown = [(name, value, f"{INDENT}= {formula}" if formulas else "") for name, value, formula in told]
    return [f"{INDENT}{name:<{wide}}  {value:>{long}}{formula}" for name, value, formula in shown]


def _facts(found: "Estimate") -> dict[str, object]:
    return {
        "assumptions": list(found.assumptions),
        "stages": {
            stage.name: {
                "what": stage.what,
                "notes": list(stage.notes),
                "figures": {
                    figure.name: {"value": figure.value, "unit": figure.unit, "formula": figure.formula}
                    for figure in stage.figures
                },
            }
            for stage in found.stages
        },
    }
