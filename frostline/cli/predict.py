"""`frostline predict`: the frames that come after a clip, from a model that continues clips."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from frostline.cli import locating, output
from frostline.errors import Refused, WrongUse

CLIPS = (".gif", ".mp4")
FRAMES_PER_SECOND = 8  # of a folder of frames, which has no rate


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
    base: Annotated[
        Path | None,
        typer.Option("--base", "--teacher-path", help="Folder of VAE and text encoder, if not where the model says."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", "--num-inference-steps", min=1)] = None,
    shift: Annotated[float | None, typer.Option(help="Of the sampler's sigmas; as trained if not given.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", "--guidance-scale", help="1 is none.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What to steer away from.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU if there is one; its pixels differ a little.")
    ] = "auto",
    registry: Annotated[str, typer.Option(help="Folder of the model registry.")] = locating.REGISTRY,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Make the frames that come after a clip. Sizes, frames and sampler are those the model was trained for."""
    for path in (output_path, beside):
        if path is not None and path.suffix not in CLIPS:
            raise WrongUse(f"{path}: the ending {path.suffix!r} is no clip's; use .gif or .mp4")
    if not context.exists():
        raise WrongUse(f"{context}: no such clip or folder of frames")
    from frostline import codec, generation, media, prediction, teachers

    loaded = teachers.load(locating.model_folder(model, registry))
    place = generation.base_folder(loaded) if base is None else locating.require_folder(base, "a base")
    space, there = loaded.contract.latent_space, codec.device(device, "--device")
    generator = generation.Generator(loaded, codec.Codec(place, encode_dtype=space.encode_dtype, device=there))
    sizes = [*filter(generator.continues, generator.process.buckets or ())]
    if not sizes:
        raise Refused(f"{loaded.folder}: it makes clips from words alone; sample it with `frostline sample`")
    shown = prediction.read(context, sizes, generator.given_frames, fps=fps, at=at)
    frames, height, width = shown.bucket
    draw = generation.Draw(
        seed=seed,
        frames=frames,
        height=height,
        width=width,
        steps=steps,
        shift=shift,
        guidance=guidance,
        negative_prompt=negative_prompt,
    )
    generator.embed([prompt], draw)
    generator.codec.release("text_encoder")
    made = prediction.go_on(generator, shown, prompt, draw)
    media.write(output_path, made, shown.fps or FRAMES_PER_SECOND)
    if beside is not None:
        media.write(beside, prediction.beside(shown, made), shown.fps or FRAMES_PER_SECOND)
    facts = {
        "prompt": prompt,
        "context": str(context),
        "output": str(output_path),
        "given_frames": len(shown.given),
        "made_frames": len(made),
        **generator.describe(draw),
        "base": str(place),
    }
    line = f"{output_path}: {len(made)} frame(s) of {width}x{height} after {len(shown.given)} of {context}, seed {seed}"
    output.say(line, facts, as_json=as_json)
