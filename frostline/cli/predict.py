"""`frostline predict`: the frames that come after a clip, from a model that continues clips."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frostline.cli import drawing, locating, output
from frostline.errors import Refused, WrongUse

if TYPE_CHECKING:
    from frostline.generation import Generator


def predict(
    model: Annotated[
        str, typer.Option("--model", "--model-path", help="A model that continues clips, or models:/NAME@ALIAS.")
    ],
    context: Annotated[Path, typer.Option("--context", help="A clip, or a folder of numbered frames.")],
    output_path: Annotated[Path, typer.Option("--output", "--output-path", help=".gif or .mp4: the frames it makes.")],
    prompt: Annotated[str, typer.Option(help="What happens, in the words the model was trained on.")] = "",
    beside: Annotated[
        Path | None, typer.Option(help=".gif or .mp4: the clip as it is on the left, as predicted on the right.")
    ] = None,
    at: Annotated[
        int | None, typer.Option(min=1, help="Go on before this frame, counted from 0; else at the clip's end.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, help="Take frames at this rate, that of the training; else all of them.")
    ] = None,
    base: drawing.Base = None,
    steps: drawing.Steps = None,
    shift: drawing.Shift = None,
    guidance: drawing.Guidance = None,
    guidance_low: drawing.GuidanceLow = None,
    negative_prompt: drawing.NegativePrompt = None,
    seed: drawing.Seed = 0,
    device: drawing.Device = "auto",
    offload: drawing.Offload = False,
    registry: drawing.Registry = locating.REGISTRY,
    as_json: drawing.AsJson = False,
) -> None:
    """Make the frames that come after a clip. Sizes, frames and sampler are those the model was trained for."""
    _require_clips(output_path, beside)
    if not context.exists():
        raise WrongUse(f"{context}: no such clip or folder of frames")
    from frostline import generation, media, prediction

    generator = drawing.generator(model, base, registry, device, offload=offload)
    shown = prediction.read(context, _sizes(generator), generator.given_frames, fps=fps, at=at)
    frames, height, width = shown.bucket
    draw = generation.Draw(
        seed=seed,
        frames=frames,
        height=height,
        width=width,
        steps=steps,
        shift=shift,
        guidance=guidance,
        guidance_low=guidance_low,
        negative_prompt=negative_prompt,
    )
    generator.embed([prompt], draw)
    generator.codec.release("text_encoder")
    made = prediction.go_on(generator, shown, prompt, draw)
    rate = shown.fps or drawing.FRAMES_PER_SECOND
    media.write(output_path, made, rate)
    if beside is not None:
        media.write(beside, prediction.beside(shown, made), rate)
    facts = {
        "prompt": prompt,
        "context": str(context),
        "output": str(output_path),
        "given_frames": len(shown.given),
        "made_frames": len(made),
        **generator.describe(draw),
        "base": str(generator.codec.base),
    }
    line = f"{output_path}: {len(made)} frame(s) of {width}x{height} after {len(shown.given)} of {context}, seed {seed}"
    output.say(line, facts, as_json=as_json)


def _require_clips(*paths: Path | None) -> None:
    for path in paths:
        if path is not None and path.suffix not in drawing.CLIPS:
            raise WrongUse(f"{path}: the ending {path.suffix!r} is no clip's; use .gif or .mp4")


def _sizes(generator: "Generator") -> list[tuple[int, int, int]]:
    """The buckets whose clips go on; raises Refused if there are none."""
    sizes = [*filter(generator.continues, generator.process.buckets or ())]
    if not sizes:
        raise Refused(f"{generator.model.folder}: it makes clips from words alone; sample it with `frostline sample`")
    return sizes
