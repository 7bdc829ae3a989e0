"""What the commands that draw have in common: options, and the model they draw with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from frostline.cli import locating

if TYPE_CHECKING:
    from frostline.generation import Generator

CLIPS = (".gif", ".mp4")
FRAMES_PER_SECOND = 8  # of a clip that has no rate of its own

Place = Literal["auto", "cpu", "cuda"]
Base = Annotated[
    Path | None,
    typer.Option("--base", "--teacher-path", help="Folder of VAE and text encoder, if not where the model says."),
]
Steps = Annotated[int | None, typer.Option("--steps", "--num-inference-steps", min=1)]
Shift = Annotated[float | None, typer.Option(help="Of the sampler's sigmas; as trained if not given.")]
Guidance = Annotated[
    float | None,
    typer.Option("--guidance", "--guidance-scale", help="1 is none. Alone: of both, where there are two experts."),
]
GuidanceLow = Annotated[
    float | None,
    typer.Option("--guidance-low", "--guidance-scale-2", help="Of the low-noise expert, where there are two."),
]
NegativePrompt = Annotated[str | None, typer.Option(help="What to steer away from.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")]
Device = Annotated[Place, typer.Option(help="auto: a GPU if there is one; its pixels differ a little.")]
Offload = Annotated[
    bool, typer.Option("--offload", help="On a GPU: weights wait on the host but for the block that computes; slower.")
]
Registry = Annotated[str, typer.Option(help="Folder of the model registry.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")]


def generator(model: str, base: Path | None, registry: str, device: Place, *, offload: bool) -> "Generator":
    """Draws from a model folder, a fetched one, or ``models:/NAME@ALIAS``; raises as what it loads does."""
    from frostline import codec, generation, processes, teachers

    loaded = teachers.load(locating.model_folder(model, registry))
    place = generation.base_folder(loaded) if base is None else locating.require_folder(base, "a base")
    there, dtype = processes.device(device, "--device"), loaded.contract.latent_space.encode_dtype
    return generation.Generator(loaded, codec.Codec(place, encode_dtype=dtype, device=there, offload=offload))
