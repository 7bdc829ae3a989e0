"""`frostline sample`: one image or clip from a model, as its contract says."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frostline.cli import drawing, locating, output
from frostline.errors import WrongUse

if TYPE_CHECKING:
    from frostline.generation import Draw, Generator

IMAGE = ".png"


def sample(
    model: Annotated[
        str, typer.Option("--model", "--model-path", help="A model folder, a fetched one, or models:/NAME@ALIAS.")
    ],
    prompt: Annotated[str, typer.Option(help="What to draw, in the words the model was trained on.")],
    output_path: Annotated[
        Path, typer.Option("--output", "--output-path", help=".png for one frame, .gif or .mp4 for a clip.")
    ],
    base: drawing.Base = None,
    steps: drawing.Steps = None,
    shift: drawing.Shift = None,
    guidance: drawing.Guidance = None,
    guidance_low: drawing.GuidanceLow = None,
    seed: drawing.Seed = 0,
    frames: Annotated[int | None, typer.Option(min=1, help="1, 5, 9, ...: 1 + 4n.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Pixels.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Pixels.")] = None,
    negative_prompt: drawing.NegativePrompt = None,
    device: drawing.Device = "auto",
    offload: drawing.Offload = False,
    registry: drawing.Registry = locating.REGISTRY,
    as_json: drawing.AsJson = False,
) -> None:
    """Draw one image or clip. Settings not given are those the model was trained for; others may be refused."""
    _require_writable(output_path)
    from frostline import generation, media

    generator = drawing.generator(model, base, registry, device, offload=offload)
    draw = generation.Draw(
        seed=seed,
        **_size(generator, frames, height, width),
        steps=steps,
        shift=shift,
        guidance=guidance,
        guidance_low=guidance_low,
        negative_prompt=negative_prompt,
    )
    _require_fitting(output_path, draw)
    generator.embed([prompt], draw)
    generator.codec.release("text_encoder")  # often the largest of all parts, and nothing asks for it again
    pixels = generator.sample([prompt], draw)[0].cpu().numpy()
    media.write(output_path, pixels, drawing.FRAMES_PER_SECOND)
    facts = {
        "prompt": prompt,
        "output": str(output_path),
        **generator.describe(draw),
        "base": str(generator.codec.base),
    }
    output.say(_line(output_path, facts), facts, as_json=as_json)


def _require_writable(path: Path) -> None:
    if path.suffix not in (IMAGE, *drawing.CLIPS):
        raise WrongUse(
            f"{path}: the ending {path.suffix!r} is not written; use .png for an image, .gif or .mp4 for a clip"
        )
    if path.is_dir():
        raise WrongUse(f"{path}: is a folder; name a file")


def _size(generator: "Generator", frames: int | None, height: int | None, width: int | None) -> dict[str, int]:
    """Frames, height and width: as asked, else of the first trained bucket with so many frames."""
    if frames is not None and height is not None and width is not None:
        return {"frames": frames, "height": height, "width": width}
    trained = generator.default_bucket(frames)
    asked = (frames, height, width)
    names = ("frames", "height", "width")
    return {name: n if a is None else a for name, a, n in zip(names, asked, trained, strict=True)}


def _require_fitting(path: Path, draw: "Draw") -> None:
    """Raise WrongUse before anything is drawn if the file cannot hold it."""
    if draw.frames == 1 and path.suffix != IMAGE:
        raise WrongUse(f"{path}: one frame is an image; name a .png, or ask for a clip with --frames 5")
    if draw.frames > 1 and path.suffix == IMAGE:
        raise WrongUse(f"{path}: {draw.frames} frames are a clip; name a .gif or .mp4")


def _line(path: Path, facts: Mapping[str, Any]) -> str:
    folded = " folded in" if facts["guidance_form"] == "folded" else ""
    scales = [facts["guidance"], *([] if facts["guidance_low"] is None else [facts["guidance_low"]])]
    guidance = " and ".join(f"{scale:g}" for scale in scales)
    return (
        f"{path}: {facts['frames']} frame(s) of {facts['width']}x{facts['height']}, seed {facts['seed']}, "
        f"{facts['steps']} {facts['sampler']} steps at shift {facts['shift']:g}, guidance {guidance}{folded}"
    )
